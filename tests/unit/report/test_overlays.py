"""Overlays: which cases are shown, and outlines in the regions' colours."""

import numpy as np
import pandas as pd
import pytest

from renal.handover.checked import CheckedCase
from renal.image.volume import write_nifti
from renal.labels import KITS19
from renal.report.overlays import draw_overlays
from renal.report.ranked import RANKS, ranked_cases

from .helpers import assert_shows_something, coloured

SHAPE = (8, 24, 32)
SPACING = (5.0, 1.0, 0.75)


def kits_affine() -> np.ndarray:
    z, y, x = SPACING
    return np.array([[0, 0, -x, 0], [0, -y, 0, 0], [-z, 0, 0, 0], [0, 0, 0, 1.0]])


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


@pytest.mark.parametrize(
    ("composites", "expected"),
    [
        ((0.5, 0.9, 0.1), ("case_1", "case_0", "case_2")),
        ((0.1, 0.2, 0.3, 0.4), ("case_3", "case_2", "case_0")),
        ((0.7,), ("case_0", "case_0", "case_0")),
        ((0.5, 0.5, 0.5), ("case_2", "case_1", "case_0")),  # equal scores go by name
    ],
)
def test_ranked_cases(composites, expected):
    ranked = ranked_cases(scores(*composites))
    assert tuple(ranked[rank]["case"] for rank in ("best", "median", "worst")) == expected
    assert all(row["grid"] == "native" for row in ranked.values())


@pytest.fixture
def drawn_cases(tmp_path) -> dict[str, CheckedCase]:
    """A case with a tumour that was found, one without a tumour, one in which all was missed."""
    random = np.random.default_rng(0)
    cases = {}
    for number in range(3):
        name = f"case_{number}"
        truth = np.zeros(SHAPE, np.uint8)
        truth[2:6, 6:16, 5:14] = 1
        if number != 1:
            truth[3:5, 8:12, 7:11] = 2
        prediction = np.zeros_like(truth) if number == 2 else np.roll(truth, 1, axis=2)
        image = random.normal(-100, 100, SHAPE).astype(np.int16)
        folder = tmp_path / "data" / name
        write_nifti(folder / "imaging.nii.gz", image, kits_affine())
        write_nifti(folder / "segmentation.nii.gz", truth, kits_affine())
        write_nifti(tmp_path / "segmentations" / f"{name}.nii.gz", prediction, kits_affine())
        cases[name] = CheckedCase(
            name,
            str(folder / "imaging.nii.gz"),
            str(folder / "segmentation.nii.gz"),
            list(SHAPE),
            list(SPACING),
        )
    return cases


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
