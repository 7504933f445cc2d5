"""Posture: organs on the wrong side by the header are told; what does not show says nothing."""

import itertools
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from renal.data.posture_checks import check_posture, eroded, smoothed
from renal.image.volume import read_header, read_volume

SPACING = (5.0, 3.0, 3.0)
SHAPE = (60, 110, 130)  # 300 mm of a trunk


def ellipsoid(centre, radii):
    """Voxels within radii (z, y, x) mm of a centre, in mm from the scan's upper middle."""
    places = [np.arange(length) * step for length, step in zip(SHAPE, SPACING, strict=True)]
    places[1] -= SHAPE[1] * SPACING[1] / 2
    places[2] -= SHAPE[2] * SPACING[2] / 2
    z, y, x = np.ix_(*places)
    axes = zip((z, y, x), centre, radii, strict=True)
    return sum(((a - c) / r) ** 2 for a, c, r in axes) < 1


@cache
def trunk(lungs=True, liver_hu=100, mass_ml=0):
    """A body of fat in air, on a table, with muscle, organs and noise; (z, y, x) int16 HU."""
    hu = np.full(SHAPE, -1000.0)
    hu[:, 97:100] = 100  # the table
    hu[ellipsoid((150, 0, 0), (1e6, 110, 160))] = -100
    for side in (-1, 1):
        hu[ellipsoid((150, 75, 45 * side), (1e6, 20, 35))] = 60
        hu[ellipsoid((260, 60, 90 * side), (60, 45, 50))] = 60  # thick muscle at the pelvis
    hu[ellipsoid((90, -20, -80), (80, 80, 70))] = liver_hu
    hu[ellipsoid((60, 30, 105), (50, 40, 30))] = 120  # the spleen
    if mass_ml:
        radius = (mass_ml * 1000 * 3 / 4 / np.pi) ** (1 / 3)
        hu[ellipsoid((150, 10, 75), (radius,) * 3)] = 80
    if lungs:
        for side in (-1, 1):
            hu[ellipsoid((0, 0, 80 * side), (60, 75, 50))] = -850
        hu[ellipsoid((0, -40, 35), (40, 55, 60))] = 150  # the heart
    hu[ellipsoid((150, 60, 0), (1e6, 18, 22))] = 250
    hu += np.random.default_rng(0).normal(0, 25, SHAPE)
    return hu.round().astype(np.int16)


FLIPS = [flip for count in range(4) for flip in itertools.combinations(range(3), count)]
TOLD = {0: "the lungs are below", 1: "the spine is in front", 2: "the liver is on the left"}


@pytest.mark.parametrize("flip", FLIPS, ids=["".join("zyx"[a] for a in f) or "as" for f in FLIPS])
def test_every_turn_and_mirror_is_told_by_its_organs(flip):
    remarks = check_posture(np.flip(trunk(), flip), SPACING)
    assert len(remarks) == bool(flip)
    for axis, words in TOLD.items():
        assert any(words in remark for remark in remarks) == (axis in flip)


def test_without_lungs_the_liver_tells_head_and_feet():
    scan = trunk(lungs=False)
    assert check_posture(scan, SPACING) == []
    (remark,) = check_posture(scan[::-1], SPACING)
    assert remark == "by the header the liver is below: is the scan turned or mirrored?"


@pytest.mark.parametrize(
    "scan",
    [
        lambda: trunk(liver_hu=0),  # fat has made it as dark as water
        lambda: trunk(mass_ml=700),  # a tumour of the left kidney
        lambda: trunk(lungs=False, liver_hu=0)[::-1],
        lambda: trunk()[:, :, 45:],  # a field of view that leaves the liver out
        lambda: trunk()[30:],  # below the liver
        lambda: trunk()[:3],
        lambda: np.full(SHAPE, -1000, np.int16),
        lambda: np.full(SHAPE, 40, np.int16),
    ],
    ids=["dark liver", "mass", "no sign", "left half", "pelvis", "thin", "air", "tissue"],
)
def test_what_does_not_show_is_not_told(scan):
    assert check_posture(scan(), SPACING) == []


@pytest.mark.parametrize("case", ["case_00000", "case_00001", "case_00002", "case_00003"])
def test_a_phantom_lies_right_until_it_is_turned_over(shared_kits19, case):
    header = read_header(shared_kits19 / case / "imaging.nii.gz")
    volume = read_volume(header)
    assert check_posture(volume, header.spacing) == []
    assert "the spine is in front" in check_posture(volume[:, ::-1], header.spacing)[0]


SHAPES = [(7, 9, 17), (1, 4, 8), (12, 2, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_scan_is_smoothed_as_by_scipy(shape, order):
    hu = np.random.default_rng(0).integers(-1024, 3072, shape).astype(np.int16, order=order)
    expected = ndimage.uniform_filter(hu.astype(np.float32), 3)
    np.testing.assert_allclose(smoothed(hu), expected, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lengths", [[1, 1, 1], [3, 5, 7], [9, 1, 3], [11, 11, 11]])
def test_a_mask_is_eroded_as_by_scipy(shape, lengths):
    mask = np.random.default_rng(0).random(shape) < 0.99
    assert (eroded(mask, lengths) == ndimage.minimum_filter(mask, lengths, mode="constant")).all()
