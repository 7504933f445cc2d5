"""Tests of targets: channels and maps by hand for each of them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.learn.targets import (
    channels_of,
    encode,
    foreground,
    foreground_maps,
    maps_of,
    probabilities,
)

LABEL = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 1, 1, 3)
TARGETS = {
    "whole": (("whole",), ("whole",)),
    "tumour": (("tumour",), ("tumour",)),
    "slices": (("whole",), ("whole",)),
    "classes": (("background", "kidney", "tumour"), ("whole", "tumour")),
    ("whole", "tumour"): (("whole", "tumour"), ("whole", "tumour")),
    ("tumour", "whole"): (("tumour", "whole"), ("tumour", "whole")),
    ("tumour",): (("tumour",), ("tumour",)),
}
WHOLE, TUMOUR = [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]
# What the channels and the maps are at background, kidney and tumour.
ENCODED = {
    "whole": [WHOLE],
    "tumour": [TUMOUR],
    "classes": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ("whole", "tumour"): [WHOLE, TUMOUR],
    ("tumour", "whole"): [TUMOUR, WHOLE],
    ("tumour",): [TUMOUR],
}
MAPS = {**ENCODED, "classes": [WHOLE, TUMOUR]}


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_channels_and_maps_are_named_in_order(target):
    assert (channels_of(target), maps_of(target)) == TARGETS[target]


def test_foreground_of_arrays_and_tensors():
    label = np.array([0, 1, 2], np.uint8)
    assert foreground(label, "whole").tolist() == [False, True, True]
    assert foreground(label, "tumour").tolist() == [False, False, True]
    assert foreground(torch.from_numpy(label), "tumour").tolist() == [False, False, True]


@pytest.mark.parametrize("target", ENCODED, ids=str)
def test_labels_become_channels(target):
    encoded = encode(LABEL, target)
    assert encoded.dtype == LABEL.dtype
    assert encoded.shape == (1, len(channels_of(target)), 1, 1, 3)
    assert encoded[0, :, 0, 0].tolist() == ENCODED[target]


@pytest.mark.parametrize("target", ENCODED, ids=str)
def test_channels_become_maps(target):
    found = foreground_maps(encode(LABEL, target), target)
    assert found.dtype == torch.bool
    assert found[0, :, 0, 0].float().tolist() == MAPS[target]


@pytest.mark.parametrize("target", ENCODED, ids=str)
def test_sure_logits_of_the_truth_give_its_maps(target):
    logits = 40 * encode(LABEL, target) - 20
    maps = probabilities(logits, target)
    assert maps.shape == (1, len(maps_of(target)), 1, 1, 3)
    torch.testing.assert_close(maps[0, :, 0, 0], torch.tensor(MAPS[target]), atol=1e-6, rtol=0)


def test_whether_a_slice_holds_anything_is_one_voxel():
    label = torch.zeros(3, 1, 1, 4, 5)
    label[1, 0, 0, 3, 4] = 1
    label[2, 0, 0, 0, 0] = 2
    encoded = encode(label, "slices")
    assert encoded.shape == (3, 1, 1, 1, 1)
    assert encoded.flatten().tolist() == [0, 1, 1]
    assert foreground_maps(encoded, "slices").flatten().tolist() == [False, True, True]
    torch.testing.assert_close(
        probabilities(torch.zeros(3, 1, 1, 1, 1), "slices"), torch.full((3, 1, 1, 1, 1), 0.5)
    )


@pytest.mark.parametrize(
    ("shares", "maps"),
    [
        ((1, 2, 5), (7 / 8, 5 / 7)),
        ((1, 5, 4), (9 / 10, 4 / 9)),
        ((4, 2, 4), (6 / 10, 6 / 10)),  # tumour, though it is less than a half of all
        ((4, 4, 2), (6 / 10, 1 / 3)),
        ((2, 1, 1), (1 / 2, 1 / 2)),
        ((8, 1, 1), (2 / 10, 2 / 10)),  # no more than there is of both
        ((1e9, 1, 1), (0, 0)),
    ],
)
def test_probabilities_of_exclusive_classes_by_hand(shares, maps):
    logits = torch.tensor(shares, dtype=torch.float).log().reshape(1, 3, 1, 1, 1)
    found = probabilities(logits, "classes").flatten()
    torch.testing.assert_close(found, torch.tensor(maps, dtype=torch.float), atol=1e-6, rtol=1e-5)


@settings(max_examples=100, deadline=None)
@given(logits=st.tuples(*[st.integers(-40, 40)] * 3))
def test_within_the_whole_region_the_more_probable_class_counts(logits):
    background, kidney, tumour = logits
    # Quarters, so that what differs differs by more than rounding.
    maps = probabilities(torch.tensor(logits).reshape(1, 3, 1, 1, 1) / 4, "classes").flatten()
    assert (maps >= 0).all() and (maps <= 1).all()
    whole, tumours = (maps > 0.5).tolist()
    foreground_share = math.exp(kidney / 4) + math.exp(tumour / 4)
    if abs(foreground_share / math.exp(background / 4) - 1) > 1e-3:
        assert whole == (foreground_share > math.exp(background / 4))
    if whole and kidney != tumour:
        assert tumours == (tumour > kidney)


def test_probabilities_of_independent_maps_are_sigmoids():
    logits = torch.tensor([0.0, 3.0]).reshape(1, 2, 1, 1, 1)
    maps = probabilities(logits, ("whole", "tumour")).flatten().tolist()
    assert maps == pytest.approx([0.5, 1 / (1 + np.exp(-3))])


@pytest.mark.parametrize("target", ["whole", "classes"])
def test_probabilities_of_half_precision_are_full(target):
    logits = torch.randn(1, len(channels_of(target)), 1, 2, 2).bfloat16()
    assert probabilities(logits, target).dtype == torch.float32


def test_the_label_is_not_changed():
    label = LABEL.clone()
    for target in (*ENCODED, "slices"):
        encode(label, target).add_(1)
    assert torch.equal(label, LABEL)
