"""Slices that make no volume are refused with a file's name; what is unusual is a remark."""

import numpy as np
import pytest

from renal.errors import InputError
from renal.image.dicom_checks import check_series

from .dicom_files import (
    PATIENT,
    SPACING,
    body,
    enhanced,
    only,
    position_of,
    series_files,
    slice_file,
    write_files,
)


def moved(number, by):
    """A series of which one slice lies elsewhere, mm along x, y and z."""
    files = series_files()
    files[number].ImagePositionPatient = (position_of(number) + np.array(by)).tolist()
    return files


def drifting():
    """Distances of 7.7 mm, then of 8.3: each near the usual 8, and the middle slice 4.5 mm off."""
    heights = np.cumsum([0, *[7.7] * 15, *[8.3] * 15])
    return [slice_file(body()[0], position_of(height / SPACING[0])) for height in heights]


def tilted(degrees=15.0):
    """A series whose table moved along the patient while the slices leant back."""
    lean = np.radians(degrees)
    axes = [1, 0, 0, 0, np.cos(lean), -np.sin(lean)]
    return series_files(ImageOrientationPatient=[float(value) for value in axes])


def phases(apart):
    """Two scans in one series, the second one by so much of a slice's distance farther up."""
    later = series_files(AcquisitionNumber=2)
    for number, data in enumerate(later):
        data.ImagePositionPatient = (position_of(number + apart)).tolist()
    return [*series_files(AcquisitionNumber=1), *later]


def placed_from(data, first):
    """A multi-frame file whose frames lie so many slices farther up."""
    for frame in data.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += first * SPACING[0]
    return data


def flawed(**changes):
    files = series_files()
    for keyword, value in changes.items():
        setattr(files[3], keyword, value)
    return files[3:]


BAD = {
    "missing": (lambda: [*series_files()[:5], *series_files()[6:]], "1 missing before it"),
    "uneven": (lambda: moved(5, (0, 0, 2)), r"uneven slices \(10 mm from IM0028, others 8 mm\)"),
    "adding up": (
        drifting,
        r"uneven slices \(4\.5 mm from its place among even ones\)",
    ),
    "doubled": (lambda: [*series_files(), slice_file(body()[3], position_of(3))], "lies where"),
    "tilt": (tilted, r"the gantry was tilted by 15\.00 degrees: --untilt"),
    "sideways": (lambda: moved(5, (0, 9, 0)), "9.0 mm beside the way"),
    "matrix": (
        lambda: [*series_files()[:-1], slice_file(body()[0][:40], position_of(11))],
        r"another matrix \(\(40, 64\), of others \(48, 64\)\)",
    ),
    "orientation": (
        lambda: [
            *series_files()[:-1],
            slice_file(body()[0], position_of(11), ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        ],
        "another orientation",
    ),
    "frame": (
        lambda: [
            *series_files()[:-1],
            slice_file(body()[0], position_of(11), FrameOfReferenceUID="1.9"),
        ],
        "another frame of reference than",
    ),
    "no scale": (
        lambda: [*series_files(), slice_file(body()[0], position_of(12), RescaleSlope=None)],
        "no RescaleSlope and RescaleIntercept in the header",
    ),
    "no place": (
        lambda: [*series_files(), slice_file(body()[0], (0, 0, 0), ImagePositionPatient=None)],
        "no ImagePositionPatient in the header",
    ),
    "slope": (lambda: series_files()[:3] + flawed(RescaleSlope=0), "scale that is no number"),
    "axes": (
        lambda: flawed(ImageOrientationPatient=[2.0, 0, 0, 0, 1, 0]),
        "not two perpendicular directions",
    ),
    "other unit": (lambda: series_files(RescaleType="US"), "RescaleType US: HU are needed"),
    "flat": (lambda: series_files(PixelSpacing=[0.0, 5.0]), "PixelSpacing 0 x 5: export"),
    "mirrored": (lambda: series_files(PixelSpacing=[-6.0, 5.0]), "PixelSpacing -6 x 5: export"),
    "phases": (
        lambda: phases(0.5),
        "slices of acquisition 1 lie among those of 2, as two phases do",
    ),
    "uneven phases": (lambda: phases(0.3), "lie among those of 2, as two phases do"),
    "two studies": (
        lambda: [
            *series_files(body()[:6]),
            *(
                slice_file(p, position_of(6 + n), StudyInstanceUID="1.2.9")
                for n, p in enumerate(body()[6:])
            ),
        ],
        "of another study than IM00",
    ),
    "multi-frame files": (
        lambda: [placed_from(enhanced(body()[n : n + 1]), n) for n in range(12)],
        "one of 12 files of a series, some of them multi-frame",
    ),
    "one UID": (
        lambda: series_files(SOPInstanceUID="1.2.3"),
        r"has the SOP Instance UID of IM00\d\d, .* convert it to NIfTI",
    ),
    "one slice": (lambda: series_files()[:1], "one slice only"),
}


@pytest.mark.parametrize("name", BAD)
def test_slices_that_make_no_volume_are_refused_with_a_file(name, tmp_path):
    files, words = BAD[name]
    write_files(tmp_path, files())
    with pytest.raises(InputError, match=words) as refused:
        check_series(only(tmp_path))
    assert str(refused.value).startswith(str(tmp_path / "IM"))
    assert PATIENT not in str(refused.value)


def test_what_is_put_right_is_a_remark(tmp_path):
    write_files(tmp_path / "tilt", tilted())
    assert check_series(only(tmp_path / "tilt"), untilt=True) == [
        "the gantry was tilted by 15.00 degrees: resampled to a straight grid"
    ]
    write_files(tmp_path / "uneven", moved(5, (0, 0, 2)))
    assert check_series(only(tmp_path / "uneven"), resample_uneven=True) == [
        "uneven slices, 6 to 10 mm: resampled to even ones"
    ]


def test_one_series_of_several_scans_above_each_other(tmp_path):
    """As a scanner makes it that stops for each of them."""
    files = series_files()
    for number, data in enumerate(files):
        data.AcquisitionNumber = number // 4
    write_files(tmp_path, files)
    assert check_series(only(tmp_path)) == []


def test_a_slight_tilt_is_used_with_a_remark(tmp_path):
    write_files(tmp_path, tilted(0.2))
    assert check_series(only(tmp_path)) == ["the gantry was tilted by 0.20 degrees"]


def test_orientations_that_differ_by_a_rounding_leave_distances_alone(tmp_path):
    """At 250 mm from the scanner's middle, 0.0004 of a normal are 0.1 mm of a height."""
    files = series_files()
    for number, data in enumerate(files):
        data.ImageOrientationPatient = [1, 0, 4e-4 * (-1) ** number, 0, 1, 0]
        data.ImagePositionPatient = [-250, -250, float(number)]
    write_files(tmp_path, files)
    np.testing.assert_allclose(np.diff(only(tmp_path).distances), 1, rtol=1e-6)
    assert check_series(only(tmp_path)) == []
