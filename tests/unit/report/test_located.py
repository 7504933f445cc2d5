"""Located regions: what share of each case they hold, from the worst to the best."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from renal.report import located
from renal.report.located import draw_located

from .helpers import assert_shows_something


def located_scores(path: Path) -> Path:
    shares = {"case_0": (0.9, 0.5), "case_1": (1.0, ""), "case_2": (0.2, 0.0)}
    lines = ["case,grid,located_kidney,located_tumour"]
    for case, (kidney, tumour) in shares.items():
        lines += [f"{case},native,{kidney},{tumour}", f"{case},resampled,,", f"{case},ceiling,,"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_located_regions_are_drawn(tmp_path):
    output = tmp_path / "located.png"
    draw_located(located_scores(tmp_path / "scores.csv"), "tiny", output)
    assert_shows_something(output)


def test_located_regions_are_shown_from_the_worst_to_the_best(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(located, "save", lambda figure, _: drawn.update(axes=figure.axes))
    draw_located(located_scores(tmp_path / "scores.csv"), "tiny", tmp_path / "unused.png")
    plt.close("all")
    kidney, tumour = (line.get_ydata().tolist() for line in drawn["axes"][0].get_lines())
    assert kidney == [0.2, 0.9, 1.0]
    assert tumour[:2] == [0.0, 0.5] and np.isnan(tumour[2])  # no tumour, no share
