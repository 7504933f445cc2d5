"""Boxes: round what is found, with margins, within the volume or beyond it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.image.boxes import (
    bounding_box,
    extended_box,
    inside,
    whole_volume,
)


def test_whole_volume():
    assert whole_volume(np.array([4, 5, 6])) == ((0, 4), (0, 5), (0, 6))


def test_bounding_box():
    mask = np.zeros((5, 6, 7), bool)
    assert bounding_box(mask) is None
    assert bounding_box(mask[:, :0]) is None
    mask[1, 2, 3] = mask[3, 2, 6] = True
    assert bounding_box(mask) == ((1, 4), (2, 3), (3, 7))
    assert bounding_box(mask[::-1]) == ((1, 4), (2, 3), (3, 7))


# -- boxes round the volume ------------------------------------------------------------------------

COARSE = (4.0, 2.0, 0.5)


@pytest.mark.parametrize(
    ("extent", "box"),
    [
        ((40, 40, 10), ((0, 10), (0, 20), (0, 20))),  # just the volume
        ((1, 1, 1), ((0, 10), (0, 20), (0, 20))),  # smaller: the volume is covered all the same
        ((80, 60, 11), ((-5, 15), (-5, 25), (-1, 21))),
        ((44, 42, 10.4), ((-1, 10), (-1, 20), (-1, 20))),  # an odd voxel more lies before
        ((20, 80, 30), ((0, 10), (-10, 30), (-20, 40))),
    ],
)
def test_an_extent_is_centred_on_the_volume_and_covers_it(extent, box):
    assert extended_box((10, 20, 20), COARSE, extent) == box


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 60)] * 3),
    extent=st.tuples(*[st.floats(0.5, 300)] * 3),
)
def test_an_extent_is_as_long_as_asked_for_or_as_the_volume(shape, extent):
    box = extended_box(shape, COARSE, extent)
    for (low, high), length, step, wanted in zip(box, shape, COARSE, extent, strict=True):
        assert low <= 0 and length <= high
        assert high - low == length or abs((high - low) * step - wanted) <= step / 2
        assert 0 <= -low - (high - length) <= 1  # as much on both sides
    assert inside(box, shape) == whole_volume(shape)
