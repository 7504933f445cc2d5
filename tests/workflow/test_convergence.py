"""What the recipe ships with learns: its own rate, dropout and normalisation, on fewer voxels."""

import sys

import convergence
import pandas as pd
import pytest

from renal.data.phantom import write_phantom


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, labelled=10, unlabelled=0, size=96)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "size", "steps", "least"),
    [("whole", ("32", "48", "48"), 80, 0.5), ("tumour", ("16", "32", "32"), 120, 0.2)],
)
def test_resvnet_learns_at_its_own_rate_from_every_seed(
    phantom, tmp_path, monkeypatch, capsys, stage, size, steps, least
):
    """Demos raise the rate to need fewer steps; here the width alone is another one."""
    options = ["--stage", stage, "--size", *size, "--change", "{training: {network: {width: 8}}}"]
    options += ["--steps", str(steps), "--cases", "8", "--held-out", "2", "--seeds", "0", "1", "2"]
    monkeypatch.setattr(sys, "argv", ["convergence.py", str(phantom), str(tmp_path), *options])
    convergence.main()
    table = pd.read_csv(tmp_path / "convergence.csv")
    assert list(table["outcome"]) == ["trained"] * 3
    scores = table[f"held-out {'kidney' if stage == 'whole' else 'tumour'}"]
    assert scores.min() > least, table.to_string()
    before = (tmp_path / "convergence.csv").read_bytes()
    convergence.main()  # nothing is trained again
    assert (tmp_path / "convergence.csv").read_bytes() == before
    assert f"method resvnet; stage {stage}" in capsys.readouterr().out
