"""Intensities: what is no Hounsfield unit is refused, what is doubtful is remarked."""

from pathlib import Path

import numpy as np
import pytest

from renal.data.intensity_checks import check_intensities
from renal.errors import InputError
from renal.image.volume import Padding, read_header, read_volume


@pytest.fixture(scope="module", params=["case_00000", "case_00001", "case_00002", "case_00003"])
def phantom(request, shared_kits19):
    header = read_header(shared_kits19 / request.param / "imaging.nii.gz")
    return read_volume(header).astype(np.int32), header.spacing


def remarks_on(volume, spacing, padding=None):
    volume = volume.astype(np.int16)
    padding = padding or Padding(voxels=0, least=int(volume.min()), scattered=0)
    return check_intensities(Path("imaging"), volume, padding, spacing)


def beside_padding(value, change):
    return lambda a: np.where(a == -1024, value, change(a))


def test_a_ct_has_no_remarks(phantom):
    assert remarks_on(*phantom) == []


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (beside_padding(-1024, lambda a: a + 1024), "above 400"),  # a lost intercept
        (lambda a: a + 1024, "as if shifted by 1024"),
        (lambda a: ((a + 1024) / 2000).round(), "as if scaled to 0..1 or normalized"),
        (lambda a: ((a - a.mean()) / a.std()).round(), "as if scaled to 0..1 or normalized"),
        (lambda a: ((a + 1024) / 10).clip(0, 255), "as if scaled to 8 bits"),
        (beside_padding(-1024, lambda a: a + 500), "above 400"),
        (lambda a: -a, "above 400"),  # a slope of -1
        (lambda a: (-a - 1024).clip(-1500), "below -1100"),
        (lambda a: a // 2, "air is at -5"),
        (beside_padding(-1024, lambda a: a // 2), "air is at -5"),
        (lambda a: a * 0.6, "air is at -6"),
        (lambda a: (a * 1.2).clip(-1500), "below -1100"),
        (lambda a: a - 200, "below -1100"),
        (lambda a: np.where(a > -300, a + 300, a), "median of the tissue"),
    ],
)
def test_another_scale_is_refused(phantom, change, about):
    volume, spacing = phantom
    with pytest.raises(InputError, match=about) as told:
        remarks_on(change(volume), spacing)
    assert "not Hounsfield units" in str(told.value) and "\n" not in str(told.value)


def test_a_doubled_scale_is_seen_where_air_is_taken_for_padding(phantom):
    volume, spacing = phantom
    doubled = 2 * volume
    low = doubled < -1500
    padding = Padding(int(low.sum()), -2048, int(low.sum() - (doubled == -2048).sum()))
    with pytest.raises(InputError, match="voxels from -2048 to -1500: not Hounsfield"):
        remarks_on(np.where(low, -1024, doubled), spacing, padding)


def test_a_scale_in_doubt_is_a_remark(phantom):
    volume, spacing = phantom
    (remark,) = remarks_on(volume * 0.8, spacing)
    assert remark == "air is at -823, not at -1000"


@pytest.mark.parametrize("ends", [(-200, 300), (-250, 250), (-300, 400)])
@pytest.mark.parametrize("padded", [False, True])
def test_a_window_is_a_remark(phantom, ends, padded):
    """Also where what lies round the field of view was spared."""
    volume, spacing = phantom
    cut = volume.clip(*ends)
    remarks = remarks_on(np.where(volume == -1024, -1024, cut) if padded else cut, spacing)
    assert any(f"are {ends[0]} HU, as if cut to a window" in remark for remark in remarks)


def test_a_frame_of_water_is_a_remark(phantom):
    """What a rotated image is filled with, unless the program is told another value."""
    volume, spacing = phantom
    framed = volume.copy()
    edge = volume.shape[1] // 20
    for side in (framed[:, :edge], framed[:, -edge:]):
        side[:] = 0
    (remark,) = remarks_on(framed, spacing)
    assert remark.endswith("% of the voxels are 0 HU, as if filled")


def test_padding_is_told_with_its_number(phantom):
    (remark,) = remarks_on(*phantom, Padding(voxels=321, least=-3024, scattered=0))
    assert remark.startswith("321 voxels of padding") and "-3024" in remark and "-1024" in remark


def test_metal_passes_with_a_remark(phantom):
    volume, spacing = phantom
    metal = np.where(volume == volume.max(), 30710, volume)
    assert remarks_on(metal, spacing) == ["values up to 30710 HU: metal?"]


def test_a_body_or_a_scan_of_an_odd_size_doubts_the_spacing(phantom):
    volume, spacing = phantom
    small = remarks_on(volume, tuple(step / 3 for step in spacing))
    assert ["is the spacing right?" in remark for remark in small] == [True, True]
    wide = remarks_on(volume, (spacing[0], *(3 * step for step in spacing[1:])))
    assert len(wide) == 1 and wide[0].startswith("the body measures")


def test_a_body_is_measured_alike_on_fine_and_on_coarse_pixels():
    """Three pixels for one, of which every third is looked at."""
    z, y, x = np.ogrid[:60, :80, :80]
    body = ((y - 40) / 20) ** 2 + ((x - 40) / 35) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 20, (60, 80, 80))
    volume = (np.where(body & (z >= 0), 20, -1000) + noise).round().astype(np.int16)
    spacing = (3.0, 2.0, 2.0)
    (coarse,) = remarks_on(volume, spacing)
    assert coarse == "the body measures 78 x 138 mm: is the spacing right?"
    fine = volume.repeat(3, 1).repeat(3, 2)
    assert remarks_on(fine, (3.0, 2 / 3, 2 / 3)) == [coarse]


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("length", [200, 216, 400])
def test_what_alternates_is_looked_at_on_both(axis, length):
    """Every second slice, row or column of another scale, on axes that are sampled."""
    shape = [20, 20, 20]
    shape[axis] = length
    volume = np.full(shape, 50, np.int16)
    volume[:10] = -1000
    np.moveaxis(volume, axis, 0)[1::2] = -1300
    with pytest.raises(InputError, match="below -1100"):
        remarks_on(volume, (1.0, 1.0, 1.0))


@pytest.mark.parametrize("shape", [(40, 300, 512), (60, 300, 300)])
def test_air_but_for_a_speck_that_no_sample_has_is_refused(shape):
    volume = np.full(shape, -1000, np.int16)
    volume[1, 1, 1] = 100
    with pytest.raises(InputError, match="next to nothing is above -200 HU"):
        remarks_on(volume, (1.0, 1.0, 1.0))
