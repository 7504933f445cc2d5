"""Overlays: which cases are shown, and outlines in the regions' colours."""

import math

import pandas as pd
import pytest

from renal.errors import InputError
from renal.labels import KITS19
from renal.report import overlays
from renal.report.overlays import draw_overlays
from renal.report.ranked import RANKS

from .helpers import assert_shows_something, coloured


def scores(*composites: float) -> pd.DataFrame:
    rows = [
        {
            "case": f"case_{number}",
            "grid": grid,
            "kidney_dice": composite,
            "tumour_dice": composite,
            # On the other grids the order is the reverse, and must not count.
            "composite": composite if grid == "native" else 1 - composite,
            "tumour_detection": "found",
        }
        for number, composite in enumerate(composites)
        for grid in ("native", "resampled", "ceiling")
    ]
    return pd.DataFrame(rows)


def test_overlays_are_drawn_for_every_rank(tmp_path, drawn_cases):
    scores(0.9, 0.5, 0.0).to_csv(tmp_path / "scores.csv", index=False)
    output = tmp_path / "pictures"
    draw_overlays(tmp_path / "scores.csv", tmp_path / "segmentations", drawn_cases, output)
    assert sorted(path.name for path in output.iterdir()) == ["best.png", "median.png", "worst.png"]
    for path in output.iterdir():
        assert_shows_something(path)


def test_outlines_are_those_of_the_prediction(tmp_path, drawn_cases):
    scores(0.9, 0.5, 0.0).to_csv(tmp_path / "scores.csv", index=False)
    draw_overlays(tmp_path / "scores.csv", tmp_path / "segmentations", drawn_cases, tmp_path)
    kidney, tumour = (KITS19.region(name).colour for name in ("kidney", "tumour"))
    shown = {
        rank: [coloured(tmp_path / f"{rank}.png", colour) for colour in (kidney, tumour)]
        for rank in RANKS
    }
    assert shown == {"best": [True, True], "median": [True, False], "worst": [False, False]}


def test_a_scored_case_that_is_not_known_is_told(tmp_path, drawn_cases):
    scores(0.9, 0.5, 0.0, 0.95).to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(InputError) as error:
        draw_overlays(tmp_path / "scores.csv", tmp_path / "segmentations", drawn_cases, tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/scores.csv: case_3 is not among the checked cases: delete it and run the "
        "workflow again"
    )


def test_too_little_memory_is_told_with_the_case(tmp_path, drawn_cases, monkeypatch):
    def full(*_):
        raise MemoryError("Unable to allocate 2.00 GiB")

    monkeypatch.setattr(overlays, "read_volume", full)
    scores(0.9, 0.5, 0.0).to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(InputError, match=r"case_\d: not enough memory \(Unable to allocate"):
        draw_overlays(tmp_path / "scores.csv", tmp_path / "segmentations", drawn_cases, tmp_path)


def test_a_region_without_a_score_is_left_out_of_the_title(tmp_path, drawn_cases, monkeypatch):
    titles = []
    monkeypatch.setattr(overlays, "draw_overlay", lambda *given: titles.append(given[4]))
    table = scores(0.9)
    table["tumour_dice"], table["tumour_detection"] = math.nan, ""
    table.to_csv(tmp_path / "scores.csv", index=False)
    draw_overlays(tmp_path / "scores.csv", tmp_path / "segmentations", drawn_cases, tmp_path)
    assert {title.partition(": ")[2] for title in titles} == {"kidney Dice 0.900"}
