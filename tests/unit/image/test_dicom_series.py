"""Series are found, told apart, and chosen never silently."""

import pytest
from pydicom import dcmread

from renal.errors import InputError
from renal.image.dicom_checks import check_series
from renal.image.dicom_series import choose_series, find_series

from .dicom_files import (
    SHAPE,
    body,
    only,
    position_of,
    series_files,
    slice_file,
    write_files,
)

DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"


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
    assert choose_series(found, ["1.1", first.name, "1.1"], tmp_path) == [first]
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
