"""Sizes of kidneys by side and of tumours, on shapes whose sizes are known."""

import numpy as np
import pytest

from renal.apply.measures import largest_diameter, measure

SPACING = (4.0, 1.0, 1.0)


@pytest.fixture
def volume():
    """A body, 80 mm wide, in the middle of air."""
    volume = np.full((10, 100, 100), -1000, np.int16)
    volume[:, 10:90, 10:90] = 40
    return volume


def test_kidneys_by_side_and_tumours_by_size(volume):
    label = np.zeros(volume.shape, np.uint8)
    label[2:7, 30:50, 20:30] = 1  # columns run towards the left
    label[2:7, 30:50, 70:80] = 1
    label[3, 40:44, 72:75] = 2
    label[4:6, 31:35, 21:25] = 2
    found = measure(label, volume, SPACING)
    assert [(m.structure, m.side) for m in found] == [
        ("kidney", "right"),
        ("kidney", "left"),
        ("tumour 1", "right"),
        ("tumour 2", "left"),
    ]
    assert [m.volume_ml for m in found] == [4.0, 4.0, 0.13, 0.05]
    assert found[2].largest_diameter_mm == pytest.approx(np.sqrt(8**2 + 3**2 + 3**2), abs=0.05)


def test_nothing_found_measures_nothing(volume):
    assert measure(np.zeros(volume.shape, np.uint8), volume, SPACING) == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1, 1), 4.0), ((1, 1, 7), np.hypot(6, 4)), ((5, 1, 1), 20.0)],
)
def test_diameter_of_thin_shapes(size, expected):
    mask = np.zeros((8, 9, 10), bool)
    mask[1 : 1 + size[0], 1 : 1 + size[1], 1 : 1 + size[2]] = True
    assert largest_diameter(mask, SPACING) == pytest.approx(expected)


def test_diameter_of_a_ball():
    z, y, x = np.ogrid[-12:13, -22:23, -22:23]
    mask = (2 * z) ** 2 + y**2 + x**2 <= 20**2
    assert largest_diameter(mask, (2.0, 1.0, 1.0)) == pytest.approx(41, abs=1)


def test_a_mask_that_fills_the_volume():
    assert largest_diameter(np.ones((3, 1, 1), bool), SPACING) == pytest.approx(12)


def test_an_empty_mask_has_no_diameter():
    assert largest_diameter(np.zeros((3, 3, 3), bool), SPACING) == 0
