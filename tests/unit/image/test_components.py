"""Components kept by size, and slices as one range."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from renal.image.boxes import slices
from renal.image.components import clean, spanned
from renal.image.settings import Components, Runs
from renal.image.volume import read_header, read_label


@pytest.fixture
def mask():
    """Components of 8, 27 and 2 voxels; the last two touch by a corner alone."""
    mask = np.zeros((12, 13, 14), bool)
    mask[0:2, 0:2, 0:2] = True
    mask[4:7, 5:8, 6:9] = True
    mask[9, 10, 11] = mask[10, 11, 12] = True
    return mask


SMALL = ((0, 2), (0, 2), (0, 2))
LARGE = ((4, 7), (5, 8), (6, 9))
CORNERS = ((9, 11), (10, 12), (11, 13))


@pytest.mark.parametrize(
    ("settings", "boxes"),
    [
        ({}, [LARGE, SMALL, CORNERS]),
        ({"minimum_voxels": 2}, [LARGE, SMALL, CORNERS]),
        ({"minimum_voxels": 3}, [LARGE, SMALL]),
        ({"minimum_voxels": 8}, [LARGE, SMALL]),
        ({"keep": 1}, [LARGE]),
        ({"keep": 9}, [LARGE, SMALL, CORNERS]),
        ({"keep": 2, "minimum_voxels": 20}, [LARGE]),
        ({"minimum_voxels": 28}, []),
    ],
)
def test_components_are_kept_by_size_largest_first(mask, settings, boxes):
    before = mask.copy()
    cleaned, found = clean(mask, Components(**settings))
    assert found == boxes
    expected = np.zeros_like(mask)
    for box in boxes:
        expected[slices(box)] = mask[slices(box)]
    np.testing.assert_array_equal(cleaned, expected)
    assert cleaned.dtype == bool
    np.testing.assert_array_equal(mask, before)


def test_an_empty_mask_has_no_components():
    cleaned, boxes = clean(np.zeros((3, 4, 5), bool), Components(keep=2))
    assert boxes == [] and not cleaned.any() and cleaned.shape == (3, 4, 5)


def test_components_are_those_of_scipy_on_noise():
    noise = np.random.default_rng(0).random((14, 15, 16)) < 0.04
    labels, count = ndimage.label(noise, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    cleaned, boxes = clean(noise, Components(minimum_voxels=3))
    np.testing.assert_array_equal(cleaned, np.isin(labels, 1 + np.flatnonzero(sizes >= 3)))
    assert 0 < len(boxes) == (sizes >= 3).sum() < count


def test_both_kidneys_of_a_phantom_are_found(shared_kits19):
    header = read_header(shared_kits19 / "case_00000" / "segmentation.nii.gz")
    whole = read_label(header) > 0
    _, boxes = clean(whole, Components(keep=2))
    (_, _, first), (_, _, second) = boxes
    assert first[1] <= second[0] or second[1] <= first[0]  # on either side
    stored = np.asarray(nib.load(header.path).dataobj)
    assert sum((stored[slices(box)] > 0).sum() for box in boxes) == (stored > 0).sum()


# -- which slices hold something ------------------------------------------------------------------


def column(text: str) -> np.ndarray:
    return np.array([letter == "#" for letter in text])[:, None, None]


@pytest.mark.parametrize(
    ("found", "runs", "step", "kept"),
    [
        # Of five slices the majority counts; at the ends the outermost is repeated.
        ("..####.####..", {"smooth": 5}, 1, "..#########.."),
        ("..####.####..", {"smooth": 15}, 3, "..#########.."),
        ("##...........", {"smooth": 5}, 1, "##..........."),
        (".............", {"smooth": 5}, 1, "............."),
        ("#############", {"smooth": 5}, 1, "#############"),
        ("..##..###....", {"least": 9}, 1, "......###...."),  # no run is long enough: the longest
        ("..##..###....", {"bridge": 2}, 1, "..#######...."),
        ("..##..###....", {"bridge": 2, "least": 3}, 1, "..#######...."),
        # In millimetres: the same gap is closed in thin slices and open in thick ones.
        ("..##..###....", {"bridge": 8, "least": 15}, 5, "......###...."),
        ("..##..###....", {"bridge": 8, "least": 15}, 4, "..#######...."),
        # The shortest run that counts and the median are in millimetres, too.
        ("..##..#####..", {"least": 6}, 3, "..#########.."),
        ("..##..#####..", {"least": 6}, 2, "......#####.."),
        ("...##........", {"smooth": 3}, 1, "...##........"),
        # Kidneys at two levels stay, and what is too short does not widen the range.
        ("#...####....######...#", {"least": 4}, 1, "....##############...."),
    ],
)
def test_slices_become_one_range_in_millimetres(found, runs, step, kept):
    mask = column(found)
    spanning = spanned(mask, Runs(**runs), step)
    np.testing.assert_array_equal(spanning, column(kept))
    assert spanning.dtype == bool


def test_voxels_are_counted_on_the_grid_that_is_stated(mask):
    """On half as many rows and columns 8 voxels are 2, and 27 are 6.75."""
    settings = Components(minimum_voxels=6, counted_on=(None, 6, 7))
    assert clean(mask, settings)[1] == [LARGE]
    assert clean(mask, Components(minimum_voxels=6))[1] == [LARGE, SMALL]
