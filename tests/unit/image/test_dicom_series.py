"""Series are found, told apart, chosen never silently, and refused with a file's name."""

import numpy as np
import pytest
from pydicom import dcmread

from renal.errors import InputError
from renal.image.dicom_series import check_series, choose_series, find_series

from .dicom_files import (
    PATIENT,
    SHAPE,
    SPACING,
    body,
    enhanced,
    position_of,
    series_files,
    slice_file,
    write_files,
)

DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"


def only(folder):
    (series,) = find_series(folder).series
    return series


def test_a_series_is_described(tmp_path):
    write_files(
        tmp_path / "a/b",
        series_files(
            ContrastBolusAgent="iodine",
            ContrastBolusStartTime="115950",
            AcquisitionTime="120100.5",
        ),
    )
    series = only(tmp_path)
    assert (series.modality, series.number, series.description) == ("CT", "4", "Abdomen venous")
    assert (series.kernel, series.phase, series.images) == ("B30f", "iodine 70 s", SHAPE[0])
    assert series.step == 8.0 and series.tilt == 0 and not series.fault
    heights = [frame.position[2] for frame in series.frames]
    assert heights == sorted(heights)
    assert check_series(series) == []


def test_names_tell_nothing_of_the_patient_and_are_the_same_again(tmp_path):
    write_files(tmp_path / "one", series_files())
    write_files(tmp_path / "two", series_files())
    one, two = only(tmp_path / "one").name, only(tmp_path / "two").name
    assert one == two and one.startswith("series_") and len(one) == 15


def test_what_is_no_image_of_a_scan_is_left_out_and_said(tmp_path):
    write_files(tmp_path / "ct", series_files())
    place = position_of(0)
    others = {
        "scout": slice_file(body()[0], place, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "screen": slice_file(body()[0], place, SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
        "dose": slice_file(
            body()[0], place, SOPClassUID=DOSE_REPORT, Modality="SR", Rows=None, PixelData=None
        ),
        "seg": slice_file(body()[0], place, Modality="SEG"),
        "page": slice_file(body()[0], place, series="1.9", ImagePositionPatient=None),
    }
    for name, data in others.items():
        write_files(tmp_path / name, [data])
    (tmp_path / "notes.txt").write_text("no DICOM")
    found = find_series(tmp_path)
    assert [series.images for series in found.series] == [SHAPE[0]]
    assert {kind: len(paths) for kind, paths in found.left_out.items()} == {
        "localisers": 1,
        "secondary captures": 1,
        "dose and other reports": 1,
        "segmentations": 1,
        "images without a place in space": 1,
        "files that are not DICOM": 1,
    }
    assert found.remarks[0] == "left out: 1 dose and other reports (IM0000)"
    assert "left out: 1 files that are not DICOM (notes.txt)" in found.remarks


def test_more_than_one_series_of_a_study_is_a_choice(tmp_path):
    write_files(tmp_path / "a", series_files(series="1.1", SeriesNumber=2))
    write_files(tmp_path / "b", series_files(series="1.2", SeriesNumber=3))
    found = find_series(tmp_path)
    first, second = found.series
    with pytest.raises(InputError, match=rf"{first.name} \(2, 12 slices\).*--series all"):
        choose_series(found, [], tmp_path)
    assert choose_series(found, [second.name], tmp_path) == [second]
    assert choose_series(found, ["1.1"], tmp_path) == [first]
    assert choose_series(found, ["all"], tmp_path) == [first, second]
    with pytest.raises(InputError, match="series_0: no CT series of that name"):
        choose_series(found, ["series_0"], tmp_path)


def test_one_series_in_each_study_is_no_choice(tmp_path):
    write_files(tmp_path / "a", series_files(series="1.1"))
    write_files(tmp_path / "b", series_files(series="1.2", StudyInstanceUID="1.2.9"))
    found = find_series(tmp_path)
    assert len(choose_series(found, [], tmp_path)) == 2


def without_uids(folder, instance=""):
    paths = write_files(folder, series_files(series="", StudyInstanceUID=""))
    for path in paths:
        data = dcmread(path)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = instance
        data.save_as(path)


def test_series_without_any_uid_have_names_of_their_own(tmp_path):
    """Results are called by them: the second patient's replaced the first one's."""
    without_uids(tmp_path / "first")
    without_uids(tmp_path / "second")
    first, second = choose_series(find_series(tmp_path), ["all"], tmp_path)
    assert first.name != second.name


def test_two_series_of_one_name_are_refused(tmp_path):
    without_uids(tmp_path / "first", "1.2.3")
    without_uids(tmp_path / "second", "1.2.3")
    with pytest.raises(InputError, match=r"2 series are series_\w+, since .* the same UIDs: seg"):
        choose_series(find_series(tmp_path), ["all"], tmp_path)


def test_damaged_headers_are_no_choice_and_told_whatever_is_chosen(tmp_path):
    """They may be slices of what was chosen, which would be used without them."""
    for name, study in (("a", "1.2.7"), ("b", "1.2.9")):
        paths = write_files(tmp_path / name, series_files(series=study, StudyInstanceUID=study))
        paths[-1].write_bytes(paths[-1].read_bytes()[:300])
    found = find_series(tmp_path)
    *whole, first, second = choose_series(found, [], tmp_path)
    assert [series.images for series in whole] == [SHAPE[0] - 1] * 2
    for damaged in (first, second):
        with pytest.raises(InputError, match="damaged DICOM header"):
            check_series(damaged)
    assert choose_series(found, ["all"], tmp_path) == [*whole, first, second]
    assert choose_series(found, [whole[0].name], tmp_path) == [whole[0], first, second]


def test_another_modality_is_listed_and_refused(tmp_path):
    write_files(tmp_path, series_files(Modality="MR"))
    series = only(tmp_path)
    assert series.modality == "MR" and series.images == SHAPE[0]
    with pytest.raises(InputError, match="only modality MR, a CT is needed"):
        choose_series(find_series(tmp_path), [], tmp_path)
    with pytest.raises(InputError, match="modality MR: a CT is needed"):
        check_series(series)


def test_nothing_to_segment(tmp_path):
    (tmp_path / "notes.txt").write_text("no DICOM")
    with pytest.raises(InputError, match="no images of a scan"):
        choose_series(find_series(tmp_path), [], tmp_path)
    with pytest.raises(InputError, match="missing: name a folder"):
        find_series(tmp_path / "nowhere")


def test_uids_that_an_anonymiser_removed(tmp_path):
    write_files(tmp_path, series_files(series="", StudyInstanceUID=""))
    series = only(tmp_path)
    assert series.uid == "" and series.images == SHAPE[0]
    (remark,) = check_series(series)
    assert remark.startswith("UIDs were removed")


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
