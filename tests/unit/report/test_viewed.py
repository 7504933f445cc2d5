"""What the viewer draws: slices in a picture, and outlines as paths."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.path import Path
from PIL import Image
from scipy import ndimage

import renal.report.viewed
from renal.errors import InputError
from renal.image.volume import write_nifti
from renal.report.overlays import WINDOW_HU
from renal.report.viewed import (
    MOST_SLICES,
    TRUTH,
    UNITS,
    Segmented,
    _outlines,
    read_segmented,
    viewed,
)

from .helpers import SHAPE, kits_affine


def segmented(image: np.ndarray, truth: np.ndarray, spacing=(5.0, 1.0, 1.0)) -> Segmented:
    box = tuple((0, length) for length in image.shape)
    return Segmented(image, {TRUTH: (box, truth)}, spacing, box)


def polygons(path: str) -> list[np.ndarray]:
    """The (x, y) corners of each closed part of a path, in pixels."""
    parts = re.findall(r"M(\d+) (\d+)l([^z]*)z", path)
    assert "".join(f"M{x} {y}l{steps}z" for x, y, steps in parts) == path
    found = []
    for x, y, steps in parts:
        moves = np.array(re.findall(r"-?\d+", steps), int).reshape(-1, 2)
        found.append(np.cumsum([[int(x), int(y)], *moves], axis=0) / UNITS)
    return found


def inside(path: str, shape: tuple[int, int]) -> np.ndarray:
    """Which pixels' centres a path goes round, as matplotlib says it."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    centres = np.column_stack([x.ravel(), y.ravel()])
    odd = np.zeros(len(centres), bool)
    for corners in polygons(path):
        odd ^= Path(np.vstack([corners, corners[:1]])).contains_points(centres)
    return odd.reshape(shape)


@pytest.mark.parametrize("seed", range(4))
def test_outlines_go_round_what_is_marked_and_nothing_else(seed):
    """Holes, islands of a single voxel and what touches the edge included."""
    noise = np.random.default_rng(seed).normal(size=(3, 24, 32))
    truth = (ndimage.gaussian_filter(noise, (0, 1.2, 1.2)) > 0.02).astype(np.uint8)
    truth[0, 0, 5] = truth[1, 12, 31] = 1
    paths = viewed(segmented(noise.astype(np.int16), truth))["outlines"][TRUTH]["kidney"]
    for z, path in enumerate(paths):
        assert np.array_equal(inside(path, truth.shape[1:]), truth[z] > 0)


def test_outlines_lie_where_the_slice_is_on_another_scale():
    """Voxels twice as high as wide: two pixels of the page for each."""
    truth = np.zeros((1, 20, 30), np.uint8)
    truth[0, 4:10, 6:12] = 2
    found = viewed(segmented(truth.astype(np.int16), truth, (5.0, 2.0, 1.0)))
    assert (found["width"], found["height"]) == (30, 40)
    (corners,) = polygons(found["outlines"][TRUTH]["tumour"][0])
    assert corners.min(axis=0).tolist() == [6, 8]
    assert corners.max(axis=0).tolist() == [12, 20]


def test_straight_lines_have_no_points_between_their_ends():
    truth = np.zeros((1, 20, 30), np.uint8)
    truth[0, 4:10, 6:12] = 1
    (path,) = viewed(segmented(truth.astype(np.int16), truth))["outlines"][TRUTH]["kidney"]
    assert len(polygons(path)[0]) == 8  # the corners are cut


def test_outlines_that_are_smaller_than_a_unit_become_lines_or_vanish():
    mask = np.zeros((9, 9), bool)
    mask[4, 1:8] = True
    assert _outlines(mask, (0.01 / UNITS, 0.01 / UNITS)) == ""
    (line,) = polygons(_outlines(mask, (1.0, 0.01 / UNITS)))
    assert line.min(axis=0).tolist() == [1, 0] and line.max(axis=0).tolist() == [8, 0]


def pixels_of(sheet: str) -> np.ndarray:
    kind, _, content = sheet.partition(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_the_sheet_has_every_slice_in_its_place():
    z, y, x = np.mgrid[:5, :40, :48]
    image = (200 * np.sin(x / 9) + 100 * np.cos(y / 7) + 30 * z).astype(np.int16)
    found = viewed(segmented(image, (image > 0).astype(np.uint8)))
    sheet = pixels_of(found["sheet"])
    low, high = WINDOW_HU
    grey = np.clip((image - low) / (high - low), 0, 1) * 255
    assert (found["columns"], found["slices"]) == (3, [1, 2, 3, 4, 5])
    for number in range(5):
        top, left = number // 3 * 40, number % 3 * 48
        tile = sheet[top : top + 40, left : left + 48].astype(float)
        assert np.abs(tile - grey[number]).mean() < 4


@pytest.mark.parametrize(
    ("spacing", "depth", "step"), [(5, 9, 1), (1, 9, 2), (0.5, 11, 5), (2, 500, 6)]
)
def test_of_thin_or_many_slices_some_are_passed_over(spacing, depth, step):
    image = np.zeros((depth, 8, 8), np.int16)
    slices = viewed(segmented(image, image.astype(np.uint8) + 1, (spacing, 1, 1)))["slices"]
    assert slices == list(range(1, depth + 1, step))
    assert len(slices) <= MOST_SLICES


def test_large_slices_are_made_smaller():
    image = np.zeros((1, 512, 400), np.int16)
    found = viewed(segmented(image, image.astype(np.uint8) + 1, (5, 0.8, 0.8)))
    assert (found["width"], found["height"]) == (200, 256)
    (corners,) = polygons(found["outlines"][TRUTH]["kidney"][0])
    assert corners.max(axis=0).tolist() == [200, 256]


def test_a_case_is_cut_round_what_any_row_marks(tmp_path, drawn_cases):
    """Not round the truth alone, or what a row marks far away would never be seen."""
    case = drawn_cases["case_0"]
    far = np.zeros(SHAPE, np.uint8)
    far[7, 22, 30] = 2
    write_nifti(tmp_path / "far/case_0.nii.gz", far, kits_affine())
    write_nifti(tmp_path / "none/case_0.nii.gz", np.zeros_like(far), kits_affine())
    rows = {name: tmp_path / name for name in ("segmentations", "far", "none")}
    found = read_segmented(replace(case, spacing=[5.0, 25.0, 25.0]), rows)
    assert found.box == ((0, 8), (5, 24), (4, 32))
    assert list(found.marked) == [TRUTH, *rows]
    assert np.array_equal(found.label("far"), far[:, 5:24, 4:32])
    assert not found.label("none").any()
    outlines = viewed(found)["outlines"]
    assert set(outlines["far"]) == {"kidney", "tumour"}
    assert outlines["none"] == {}


def test_too_little_memory_is_told_with_the_case(tmp_path, drawn_cases, monkeypatch):
    def full(*_):
        raise MemoryError("Unable to allocate 2.00 GiB")

    monkeypatch.setattr(renal.report.viewed, "read_label", full)
    with pytest.raises(InputError, match=r"case_0: not enough memory \(Unable to allocate"):
        read_segmented(drawn_cases["case_0"], {"segmentations": tmp_path / "segmentations"})


def test_a_case_of_which_nobody_marks_anything_is_shown_whole():
    empty = np.zeros((2, 8, 8), np.int16)
    found = segmented(empty, empty.astype(np.uint8))
    assert viewed(found)["outlines"] == {TRUTH: {}}
