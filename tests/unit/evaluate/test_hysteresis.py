"""Tests of region growing by hysteresis: every line of the algorithm on a map made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from renal.evaluate.hysteresis import grow, hysteresis

PAPER = {
    "threshold": 0.5,
    "kidney_growth": {"default": 0.4, "empty": 0.1},
    "tumour_growth": {"default": 0.3, "small": 0.2, "empty": 0.1},
    "small_voxels": 100,
}


def row(*values: float) -> np.ndarray:
    """(1, 1, x) float32 map."""
    return np.array([[values]], np.float32)


def mask(text: str) -> np.ndarray:
    """(1, 1, x) bool: # is true."""
    return np.array([[[letter == "#" for letter in text]]])


def segmented(kidney, tumour, within=None, **changed):
    within = np.ones_like(kidney) if within is None else within
    return hysteresis(kidney, tumour, within, **{**PAPER, **changed})


def assert_masks(result, kidney: str, tumour: str):
    for found, expected in zip(result, (kidney, tumour), strict=True):
        assert found.dtype == bool
        np.testing.assert_array_equal(found, mask(expected))


NOTHING = row(0, 0, 0, 0, 0, 0)
TUMOUR = row(0, 0.6, 0, 0, 0, 0)


def test_kidney_grows_to_the_lower_threshold():
    """Lines 6 to 8: 0.45 joins what it touches, and stays out where it stands alone."""
    kidney = row(0.45, 0.9, 0.39, 0.45, 0, 0.7)
    assert_masks(segmented(kidney, TUMOUR), "##...#", ".#....")


def test_empty_kidney_takes_the_lowest_threshold():
    """Lines 3 to 5: no growing, so parts that do not touch are taken as well."""
    kidney = row(0.45, 0.2, 0.05, 0.11, 0, 0)
    assert_masks(segmented(kidney, TUMOUR), "##.#..", ".#....")


def test_kidney_may_stay_empty():
    assert_masks(segmented(NOTHING, NOTHING), "......", "......")


def test_large_tumour_grows_to_its_default():
    """Lines 22 to 24."""
    tumour = row(0.25, 0.6, 0.35, 0.25, 0.35, 0)
    assert_masks(segmented(NOTHING + 1, tumour, small_voxels=1), "######", ".##...")


def test_small_tumour_grows_further():
    """Lines 19 to 21."""
    tumour = row(0.25, 0.6, 0.35, 0.25, 0.35, 0)
    assert_masks(segmented(NOTHING + 1, tumour, small_voxels=2), "######", "#####.")


@pytest.mark.parametrize(("voxels", "grown"), [(99, True), (100, False), (101, False)])
def test_fewer_than_the_limit_is_small(voxels, grown):
    tumour = np.zeros((3, 8, 8), np.float32)
    tumour.ravel()[:voxels] = 0.9
    tumour.ravel()[voxels] = 0.25
    _, found = segmented(np.ones_like(tumour), tumour)
    assert found.sum() == voxels + grown


def test_empty_tumour_takes_the_lowest_threshold():
    """Lines 10 to 12 and 17: what is above it is kept, whatever it touches."""
    tumour = row(0.5, 0.2, 0.05, 0.11, 0, 0.1)
    assert_masks(segmented(NOTHING + 1, tumour), "######", "##.#..")


def test_tumour_that_stays_empty_is_the_kidney():
    """Lines 13 and 14: the region as it was refined."""
    kidney = row(0.45, 0.9, 0, 0.45, 0, 0)
    assert_masks(segmented(kidney, NOTHING + 0.1), "##....", "##....")
    assert_masks(segmented(NOTHING + 0.2, NOTHING), "######", "######")


def test_tumour_outside_of_the_kidney_adds_to_it():
    """Line 27."""
    kidney, tumour = row(0.9, 0.9, 0, 0, 0, 0), row(0, 0.9, 0.9, 0, 0.9, 0)
    assert_masks(segmented(kidney, tumour), "###.#.", ".##.#.")


def test_both_are_cut_away_outside_of_the_localized_region():
    """Line 28, at the threshold, and after all growing."""
    kidney, tumour = row(0.9, 0.9, 0.9, 0.45, 0, 0), row(0, 0.35, 0.9, 0.35, 0.9, 0)
    within = row(0, 0.51, 0.5, 1, 1, 1)
    assert_masks(segmented(kidney, tumour, within, small_voxels=1), ".#.##.", ".#.##.")


def test_empty_is_judged_before_the_cut():
    """A tumour that the last line removes does not come back as the kidney."""
    kidney, tumour = NOTHING + 1, row(0.9, 0, 0, 0, 0, 0)
    assert_masks(segmented(kidney, tumour, row(0, 1, 1, 1, 1, 1)), ".#####", "......")


def test_thresholds_are_exclusive_and_free():
    kidney = row(0.7, 0.71, 0.6, 0.61, 0, 0)
    lower = {"default": 0.6, "empty": 0.3}
    found, _ = segmented(kidney, TUMOUR, threshold=0.7, kidney_growth=lower, small_voxels=1)
    np.testing.assert_array_equal(found, mask("##...."))


def test_maps_are_not_changed():
    maps = [np.random.default_rng(i).random((3, 4, 5), np.float32) for i in range(3)]
    for values in maps:
        values.flags.writeable = False
    segmented(*maps)


# -- grow ---------------------------------------------------------------------------------------


def test_corners_touch():
    seed, candidate = np.zeros((2, 3, 3, 3), bool)
    seed[0, 0, 0] = True
    candidate[[0, 1, 2], [0, 1, 2], [0, 1, 2]] = True
    np.testing.assert_array_equal(grow(seed, candidate), candidate)
    candidate[1, 1, 1] = False
    np.testing.assert_array_equal(grow(seed, candidate), seed)


def flooded(seed: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """From voxel to voxel."""
    found = seed.copy()
    waiting = [tuple(place) for place in np.argwhere(seed)]
    while waiting:
        place = waiting.pop()
        near = tuple(slice(max(index - 1, 0), index + 2) for index in place)
        corner = np.array([part.start for part in near])
        fresh = np.argwhere(candidate[near] & ~found[near]) + corner
        found[near] |= candidate[near]
        waiting += [tuple(place) for place in fresh]
    return found


MAPS = arrays.arrays(np.int8, (3, 4, 6), elements=st.sampled_from([0, 0, 0, 0, 0, 1, 1, 1, 2]))


@given(MAPS)
def test_growing_reaches_what_a_flood_reaches(levels):
    seed, candidate = levels == 2, levels >= 1
    np.testing.assert_array_equal(grow(seed, candidate), flooded(seed, candidate))


@given(MAPS)
def test_growing_stays_between_seed_and_candidate(levels):
    seed, candidate = levels == 2, levels >= 1
    grown = grow(seed, candidate)
    assert not (seed & ~grown).any() and not (grown & ~candidate).any()
    np.testing.assert_array_equal(grow(grown, candidate), grown)
