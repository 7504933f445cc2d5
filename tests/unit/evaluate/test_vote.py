"""What rows agree upon: by hand, and by STAPLE."""

import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk

from renal.evaluate.settings import Voting
from renal.evaluate.vote import majority, staple, voted_label


def block(*ranges: slice) -> np.ndarray:
    mask = np.zeros((12, 20, 20), bool, order="F")
    mask[ranges] = True
    return mask


RIGHT = block(np.s_[3:8], np.s_[5:14], np.s_[5:14])
LARGE = block(np.s_[2:9], np.s_[4:15], np.s_[4:15])
ELSEWHERE = block(np.s_[8:11], np.s_[14:18], np.s_[14:18])


def test_more_than_half_decide():
    masks = [
        np.array([[[first, second, third]]], bool) for first, second, third in ([1, 1, 0],) * 2
    ]
    masks.append(np.array([[[0, 1, 1]]], bool))
    assert majority(masks).tolist() == [[[True, True, False]]]
    assert majority(masks[1:]).tolist() == [[[False, True, False]]]  # a tie is not


def test_staple_follows_those_that_agree():
    agreed = staple([RIGHT, RIGHT, RIGHT, ELSEWHERE])
    assert np.array_equal(agreed, RIGHT)


def test_staple_in_the_box_is_simpleitks():
    masks = [RIGHT, LARGE, RIGHT | ELSEWHERE]
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]
    whole = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0)) > 0.5
    assert np.array_equal(staple(masks), whole)


def test_staple_is_cut_at_one_half():
    random = np.random.default_rng(0)
    masks = [RIGHT ^ (random.random(RIGHT.shape) < 0.25) for _ in range(3)]
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]
    probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    assert ((probability > 0.5) & (probability < 0.6)).any()
    assert ((probability < 0.5) & (probability > 0.3)).any()
    assert np.array_equal(staple(masks), probability > 0.5)


def test_staple_does_not_hold_all_masks_once_more():
    masks = [np.zeros((64, 128, 128), bool) for _ in range(6)]
    for mask in masks:
        mask[10:20, 10:20, 10:20] = True
    tracemalloc.start()
    staple(masks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * masks[0].nbytes


@pytest.mark.parametrize("masks", [[RIGHT & False] * 3, [RIGHT]])
def test_staple_of_nothing_or_of_one(masks):
    assert np.array_equal(staple(masks), masks[0])


@pytest.mark.parametrize("by", ["majority", "staple"])
def test_a_region_is_voted_on_by_those_that_look_for_it(by):
    tumour = block(np.s_[4:6], np.s_[6:9], np.s_[6:9])
    both = RIGHT.astype(np.uint8) + tumour
    maps = {"one": both, "two": both, "kidneys": RIGHT.astype(np.uint8)}
    regions = {"kidney": ("one", "two", "kidneys"), "tumour": ("one", "two")}
    label = voted_label(maps, Voting(regions=regions, by=by))
    assert label.dtype == np.uint8
    assert np.array_equal(label, both)
