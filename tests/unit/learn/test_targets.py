"""Tests of targets: channels and maps by hand for each of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.labels import KITS19
from renal.learn.settings import Classes
from renal.learn.targets import channels_of, encode, foreground_maps, maps_of, probabilities

LABEL = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 1, 1, 3)
TARGETS = {
    "kidney": (("kidney",), ("kidney",)),
    "tumour": (("tumour",), ("tumour",)),
    "slices": (("kidney",), ("kidney",)),
    "classes": (("background", "kidney", "tumour"), ("kidney", "tumour")),
    ("kidney", "tumour"): (("kidney", "tumour"), ("kidney", "tumour")),
    ("tumour", "kidney"): (("tumour", "kidney"), ("tumour", "kidney")),
    ("tumour",): (("tumour",), ("tumour",)),
}
KIDNEY, TUMOUR = [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]
# What the channels and the maps are at background, parenchyma and tumour.
ENCODED = {
    "kidney": [KIDNEY],
    "tumour": [TUMOUR],
    "classes": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ("kidney", "tumour"): [KIDNEY, TUMOUR],
    ("tumour", "kidney"): [TUMOUR, KIDNEY],
    ("tumour",): [TUMOUR],
}
MAPS = {**ENCODED, "classes": [KIDNEY, TUMOUR]}


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_channels_and_maps_are_named_in_order(target):
    assert (channels_of(target), maps_of(target)) == TARGETS[target]


def test_foreground_of_arrays_and_tensors():
    label = np.array([0, 1, 2], np.uint8)
    assert KITS19.region("kidney").mask(label).tolist() == [False, True, True]
    assert KITS19.region("tumour").mask(label).tolist() == [False, False, True]
    assert KITS19.region("tumour").mask(torch.from_numpy(label)).tolist() == [False, False, True]


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
def test_within_the_kidney_the_more_probable_class_counts(logits):
    background, parenchyma, tumour = logits
    # Quarters, so that what differs differs by more than rounding.
    maps = probabilities(torch.tensor(logits).reshape(1, 3, 1, 1, 1) / 4, "classes").flatten()
    assert (maps >= 0).all() and (maps <= 1).all()
    kidney, tumours = (maps > 0.5).tolist()
    foreground_share = math.exp(parenchyma / 4) + math.exp(tumour / 4)
    if abs(foreground_share / math.exp(background / 4) - 1) > 1e-3:
        assert kidney == (foreground_share > math.exp(background / 4))
    if kidney and parenchyma != tumour:
        assert tumours == (tumour > parenchyma)


def test_probabilities_of_independent_maps_are_sigmoids():
    logits = torch.tensor([0.0, 3.0]).reshape(1, 2, 1, 1, 1)
    maps = probabilities(logits, ("kidney", "tumour")).flatten().tolist()
    assert maps == pytest.approx([0.5, 1 / (1 + np.exp(-3))])


@pytest.mark.parametrize("target", ["kidney", "classes"])
def test_probabilities_of_half_precision_are_full(target):
    logits = torch.randn(1, len(channels_of(target)), 1, 2, 2).bfloat16()
    assert probabilities(logits, target).dtype == torch.float32


def test_the_label_is_not_changed():
    label = LABEL.clone()
    for target in (*ENCODED, "slices"):
        encode(label, target).add_(1)
    assert torch.equal(label, LABEL)


# -- any table of labels --------------------------------------------------------------------------

KIDNEYS, TUMOURS = KITS19.regions
WITH_CYSTS = replace(
    KITS19,
    tissues={**KITS19.tissues, 3: "cyst"},
    regions=(
        replace(KIDNEYS, labels=(1, 2, 3)),
        replace(TUMOURS, name="masses", labels=(2, 3)),
        TUMOURS,
    ),
)
CLASSES = Classes(classes=("kidney", "masses", "tumour"))
FOUR = torch.tensor([0.0, 1.0, 2.0, 3.0]).reshape(1, 1, 1, 1, 4)
REGIONS = {
    "kidney": [0.0, 1.0, 1.0, 1.0],
    "masses": [0.0, 0.0, 1.0, 1.0],
    "tumour": [0.0, 0.0, 1.0, 0.0],
}


def test_channels_and_maps_of_another_table():
    assert channels_of(CLASSES, WITH_CYSTS) == ("background", "kidney", "masses", "tumour")
    assert maps_of(CLASSES, WITH_CYSTS) == ("kidney", "masses", "tumour")
    # A recipe of two classes stays one: cysts are kidney to it.
    assert channels_of("classes", WITH_CYSTS) == ("background", "kidney", "tumour")
    assert maps_of("classes", WITH_CYSTS) == ("kidney", "tumour")
    assert channels_of("slices", WITH_CYSTS) == maps_of("slices", WITH_CYSTS) == ("kidney",)
    for target in ("masses", ("masses", "tumour")):
        names = (target,) if isinstance(target, str) else target
        assert channels_of(target, WITH_CYSTS) == maps_of(target, WITH_CYSTS) == names


@pytest.mark.parametrize("target", [*REGIONS, ("tumour", "masses", "kidney")], ids=str)
def test_regions_of_another_table_become_channels_and_maps(target):
    encoded = encode(FOUR, target, WITH_CYSTS)
    expected = [REGIONS[name] for name in maps_of(target, WITH_CYSTS)]
    assert encoded.dtype == FOUR.dtype
    assert encoded[0, :, 0, 0].tolist() == expected
    found = foreground_maps(encoded, target, WITH_CYSTS)
    assert found.dtype == torch.bool
    assert found[0, :, 0, 0].float().tolist() == expected
    torch.testing.assert_close(
        probabilities(40 * encoded - 20, target, WITH_CYSTS)[0, :, 0, 0],
        torch.tensor(expected),
        atol=1e-6,
        rtol=0,
    )


def test_classes_of_another_table_become_channels_and_maps():
    encoded = encode(FOUR, CLASSES, WITH_CYSTS)
    assert torch.equal(encoded[0, :, 0, 0], torch.eye(4)[:, [0, 1, 3, 2]])
    found = foreground_maps(encoded, CLASSES, WITH_CYSTS)
    assert found.dtype == torch.bool
    assert found[0, :, 0, 0].float().tolist() == list(REGIONS.values())


def test_cysts_are_kidney_to_two_classes():
    encoded = encode(FOUR, "classes", WITH_CYSTS)
    assert encoded[0, :, 0, 0].tolist() == [[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    found = foreground_maps(encoded, "classes", WITH_CYSTS)[0, :, 0, 0].float().tolist()
    assert found == [REGIONS["kidney"], REGIONS["tumour"]]
    maps = probabilities(40 * encoded - 20, "classes", WITH_CYSTS)[0] > 0.5
    masks = dict(zip(("kidney", "tumour"), maps.numpy(), strict=True))
    assert WITH_CYSTS.paint(masks).tolist() == [[[0, 1, 2, 1]]]


def test_whether_a_slice_of_another_table_holds_anything():
    label = torch.zeros(5, 1, 1, 2, 2)
    label[1:4, 0, 0, 1, 0] = torch.tensor([1.0, 2.0, 3.0])
    encoded = encode(label, "slices", WITH_CYSTS)
    assert encoded.shape == (5, 1, 1, 1, 1)
    assert encoded.flatten().tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("shares", "maps"),
    [
        ((1, 2, 4, 3), (9 / 10, 7 / 9, 4 / 7)),
        ((1, 2, 3, 4), (9 / 10, 7 / 9, 3 / 7)),  # rather cyst
        ((1, 5, 1, 3), (9 / 10, 4 / 9, 1 / 4)),  # rather parenchyma
        ((1, 5, 3, 1), (9 / 10, 4 / 9, 4 / 9)),  # tumour, if it were a mass
        ((4, 2, 1, 3), (6 / 10, 6 / 10, 1 / 4)),  # no more mass than there is kidney
        ((7, 1, 1.9, 0.1), (3 / 10, 3 / 10, 3 / 10)),
        ((1e9, 1, 1, 1), (0, 0, 0)),
    ],
)
def test_probabilities_of_four_exclusive_classes_by_hand(shares, maps):
    background, kidney, tumour, cyst = shares
    ordered = torch.tensor([background, kidney, cyst, tumour], dtype=torch.float)
    found = probabilities(ordered.log().reshape(1, 4, 1, 1, 1), CLASSES, WITH_CYSTS).flatten()
    torch.testing.assert_close(found, torch.tensor(maps, dtype=torch.float), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("labels", [KITS19, WITH_CYSTS], ids=["KiTS19", "with cysts"])
def test_sure_classes_are_painted_as_the_label_that_they_are_of(labels):
    label = torch.arange(float(labels.count)).reshape(1, 1, 1, 1, -1)
    target = Classes(classes=labels.names)
    logits = 40 * encode(label, target, labels) - 20
    maps = probabilities(logits, target, labels)[0] > 0.5
    masks = dict(zip(maps_of(target, labels), maps.numpy(), strict=True))
    assert labels.paint(masks).tolist() == label[0, 0].tolist()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.sampled_from([1, 10, 100]))
def test_classes_of_kits19_are_to_the_bit_what_they_were_without_a_table(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 3, 2, 3, 4, generator=generator)
    shares = logits.softmax(dim=1)
    kidney = 1 - shares[:, :1]
    tumour = (shares[:, 2:] / kidney.clamp(min=1e-6)).minimum(kidney)
    assert torch.equal(probabilities(logits, "classes"), torch.cat([kidney, tumour], dim=1))
    label = torch.randint(3, (2, 1, 2, 3, 4), generator=generator).float()
    encoded = encode(label, "classes")
    assert torch.equal(encoded, torch.cat([label == value for value in range(3)], 1).float())
    maps = torch.cat([encoded[:, :1] == 0, encoded[:, 2:] > 0], dim=1)
    assert torch.equal(foreground_maps(encoded, "classes"), maps)
    for target in ("kidney", "tumour"):
        least = {"kidney": 1, "tumour": 2}[target]
        assert torch.equal(encode(label, target), (label >= least).float())
