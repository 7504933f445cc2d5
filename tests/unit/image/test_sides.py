"""Right and left kidney."""

import numpy as np

from renal.image.sides import LEFT, RIGHT, UNTOLD, kidney_sides

from .dicom_files import SPACING, body, kidneys


def test_sides_follow_the_body_not_the_field():
    """The body lies far to one side of the field, so that both kidneys are in its right half."""
    volume, kidney = body(), kidneys() > 0
    shifted = np.full((12, 48, 160), -1000, np.int16)
    shifted[:, :, 96:] = volume
    wide = np.pad(kidney, ((0, 0), (0, 0), (96, 0)))
    sides = kidney_sides(wide, shifted, SPACING)
    assert set(np.unique(sides[..., :128])) == {0, RIGHT}
    assert set(np.unique(sides[..., 128:])) == {0, LEFT}
    np.testing.assert_array_equal(sides > 0, wide)


def test_the_body_is_that_of_the_kidneys_slices():
    """Further down the scan the body lies elsewhere in the field."""
    volume, kidney = np.full((36, 48, 160), -1000, np.int16), np.zeros((36, 48, 160), bool)
    volume[:12, :, 96:], volume[12:, :, :64] = body(), np.tile(body(), (2, 1, 1))
    kidney[:12, :, 96:] = kidneys() > 0
    assert set(np.unique(kidney_sides(kidney, volume, SPACING))) == {0, RIGHT, LEFT}


def test_a_horseshoe_kidney_has_no_side():
    kidney = kidneys() > 0
    kidney[4:6, 24:26, 20:46] = True
    assert set(np.unique(kidney_sides(kidney, body(), SPACING))) == {0, UNTOLD}


def test_no_kidney_and_no_body():
    nothing = np.zeros(body().shape, bool)
    assert not kidney_sides(nothing, body(), SPACING).any()
    air = np.full(body().shape, -1000, np.int16)
    assert set(np.unique(kidney_sides(kidneys() > 0, air, SPACING))) == {0, RIGHT, LEFT}
