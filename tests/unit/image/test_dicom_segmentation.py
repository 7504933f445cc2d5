"""DICOM-SEG: coded, valid, and the same voxels in every reader."""

import json
import subprocess
import sys
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.sr.codedict import codes

from renal.errors import InputError
from renal.image.dicom_segmentation import (
    ARTIFICIAL_INTELLIGENCE,
    PATIENT_AND_STUDY,
    SIDES,
    Algorithm,
    write_segmentation,
)
from renal.image.dicom_series import find_series
from renal.image.dicom_volume import read_series
from renal.labels import KITS19, Code

from .dicom_files import (
    NUMBER,
    body,
    enhanced,
    kidneys,
    position_of,
    series_files,
    slice_file,
    write_files,
)
from .test_dicom_volume import tilted_files

ALGORITHM = Algorithm("resvnet", "1", "ab" * 32)


def written(folder: Path, files, label=None, **options):
    """A segmentation of a series: its path, and the series' volume."""
    write_files(folder / "ct", files)
    return written_for(folder, folder / "ct", label, **options)


def written_for(folder, series, label=None, **options):
    source = read_series(find_series(series).series[0], untilt=True)
    label = kidneys()[::-1] if label is None else label(source.volume.shape)
    path = folder / "seg.dcm"
    segments = write_segmentation(path, label, source, ALGORITHM, **options)
    return path, source, label, segments


def read_by_highdicom(path, source):
    """(slices, rows, columns) of KiTS19's label values, by highdicom, from the source's images."""
    seg = highdicom.seg.segread(path)
    values = [
        2 if description.segmented_property_type == codes.SCT.Neoplasm else 1
        for description in map(seg.get_segment_description, seg.segment_numbers)
    ]
    frames = source.series.frames
    if len({frame.path for frame in frames}) == 1:
        pixels = seg.get_pixels_by_source_frame(
            frames[0].instance,
            [frame.number + 1 for frame in frames],
            assert_missing_frames_are_empty=True,
            combine_segments=True,
        )
    else:
        pixels = seg.get_pixels_by_source_instance(
            [frame.instance for frame in frames],
            assert_missing_frames_are_empty=True,
            combine_segments=True,
        )
    return np.array([0, *values], np.uint8)[pixels]


def test_codes_are_those_of_the_dictionaries():
    def same(code: Code, entry) -> bool:
        written = (code.value, code.scheme, code.meaning.lower())
        return written == (entry.value, entry.scheme_designator, entry.meaning.lower())

    kidney, tumour = KITS19.regions
    assert same(kidney.category, codes.SCT.AnatomicalStructure)
    assert same(kidney.type, codes.SCT.Kidney)
    assert same(tumour.category, codes.SCT.MorphologicallyAbnormalStructure)
    assert same(tumour.type, codes.SCT.Neoplasm)
    assert [same(code, getattr(codes.SCT, code.meaning)) for _, code in SIDES.values() if code]
    assert same(SIDES[1][1], codes.SCT.Right) and same(SIDES[2][1], codes.SCT.Left)
    assert same(ARTIFICIAL_INTELLIGENCE, codes.cid7162.ArtificialIntelligence)


@pytest.mark.parametrize("labelmap", [False, True])
@pytest.mark.parametrize("files", [series_files, lambda: [enhanced()]], ids=["slices", "enhanced"])
def test_read_back_by_highdicom(files, labelmap, tmp_path):
    path, source, label, segments = written(tmp_path, files(), labelmap=labelmap)
    assert [segment.title for segment in segments] == ["Right kidney", "Left kidney", "Tumour"]
    np.testing.assert_array_equal(read_by_highdicom(path, source), label[::-1])


def test_what_stands_in_it(tmp_path):
    path, source, *_ = written(tmp_path, series_files())
    data = dcmread(path)
    assert data.SegmentationType == "BINARY"
    assert data.StudyInstanceUID == source.series.study
    assert data.FrameOfReferenceUID == source.series.frames[0].frame_of_reference
    assert data.PatientID == NUMBER  # belongs to the patient, as its images do
    assert data.ContentDescription == "Research use, not a medical device"
    right, left, tumour = data.SegmentSequence
    for segment, side in ((right, "Right"), (left, "Left")):
        (kind,) = segment.SegmentedPropertyTypeCodeSequence
        assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == side
    assert tumour.AnatomicRegionSequence[0].CodeMeaning == "Kidney"
    (made_by,) = tumour.SegmentationAlgorithmIdentificationSequence
    assert made_by.AlgorithmName == "resvnet" and made_by.AlgorithmVersion == "1"
    assert "ab" * 32 in made_by.AlgorithmParameters
    assert made_by.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"


def test_the_same_again_has_the_same_uid(tmp_path):
    path, source, label, _ = written(tmp_path, series_files())
    write_segmentation(tmp_path / "again.dcm", label, source, ALGORITHM)
    other = Algorithm("resvnet", "1", "cd" * 32)
    write_segmentation(tmp_path / "other.dcm", label, source, other)
    uids = [
        dcmread(p).SOPInstanceUID for p in (path, tmp_path / "again.dcm", tmp_path / "other.dcm")
    ]
    assert uids[0] == uids[1] != uids[2]


def test_empty_segments_and_empty_objects_are_not_written(tmp_path):
    *_, segments = written(
        tmp_path / "a", series_files(), label=lambda shape: (kidneys()[::-1] == 1).astype(np.uint8)
    )
    assert [segment.title for segment in segments] == ["Right kidney", "Left kidney"]
    path, *_, segments = written(
        tmp_path / "b", series_files(), label=lambda shape: np.zeros(shape, np.uint8)
    )
    assert segments == [] and not path.exists()


def test_straightened_slices_are_marked(tmp_path):
    def label(shape):
        made = np.zeros(shape, np.uint8)
        made[3:9, 20:30, 20:40] = 1
        return made

    path, source, made, _ = written(tmp_path, tilted_files(), label=label)
    assert dcmread(path).ContentDescription.endswith("slices were resampled")
    np.testing.assert_array_equal(read_by_highdicom(path, source), source.to_slices(made))


def test_read_back_by_simpleitk(tmp_path):
    """It reads the frames that there are, segment by segment; what is empty was left out."""
    path, source, label, _ = written(tmp_path, series_files())
    data = dcmread(path)
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    back = np.zeros(body().shape, np.uint8)
    places = {frame.instance: n for n, frame in enumerate(source.series.frames)}
    for frame, group in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        image = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        back[places[image]][frame > 0] = 2 if segment == 3 else 1
    np.testing.assert_array_equal(back, label[::-1])


def test_read_back_by_dcmqi(tmp_path):
    """An independent reader puts the label map into the same place of the patient."""
    pytest.importorskip("dcmqi", reason="dcmqi is not installed")
    path, source, label, _ = written(tmp_path, series_files())
    program = Path(sys.executable).with_name("segimage2itkimage")
    command = ["--inputDICOM", path, "--outputDirectory", tmp_path, "--outputType", "nii"]
    subprocess.run([sys.executable, program, *command, "--mergeSegments"], check=True)
    (merged,) = tmp_path.glob("*.nii.gz")
    told = json.loads(next(tmp_path.glob("*meta.json")).read_text())
    assert told["SeriesNumber"] == "1004"
    image = nib.load(merged)
    theirs = np.asarray(image.dataobj)
    where = np.argwhere(label)
    world = nib.affines.apply_affine(source.header.standard_affine, where)
    there = np.rint(nib.affines.apply_affine(np.linalg.inv(image.affine), world)).astype(int)
    values = theirs[tuple(there.T)]
    assert np.count_nonzero(theirs) == len(where)
    np.testing.assert_array_equal(np.where(values == 3, 2, 1), label[tuple(where.T)])


def test_an_identifier_that_the_standard_forbids_is_no_fault(tmp_path):
    files = [slice_file(p, position_of(n), PatientID="x" * 70) for n, p in enumerate(body())]
    path, *_ = written(tmp_path, files)
    assert path.exists()


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "王^小东"),
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR_100", "Müller^Jürgen"),  # as some write it
    ],
)
def test_names_in_any_script_stay_as_they_are(characters, name, tmp_path):
    files = series_files(SpecificCharacterSet=characters, PatientName=name)
    path, *_ = written(tmp_path, files)
    assert dcmread(path).PatientName == name


def test_what_the_standard_forbids_stays_as_it_is_and_is_no_fault(tmp_path):
    """A segmentation was computed, and then thrown away for the patient's sex."""
    odd = {"PatientSex": "W", "PatientBirthDate": "unknown", "StudyTime": "12:00:00"}
    path, *_ = written(tmp_path, series_files(**odd))
    data = dcmread(path)
    assert {keyword: data.get(keyword) for keyword in odd} == odd


@pytest.mark.parametrize("keyword", [*PATIENT_AND_STUDY, "SliceThickness"])
@pytest.mark.parametrize("remove", [delattr, lambda data, keyword: setattr(data, keyword, None)])
def test_what_an_anonymiser_removed_is_no_fault(remove, keyword, tmp_path):
    files = series_files()
    for data in files:
        remove(data, keyword)
    path, source, label, _ = written(tmp_path, files)
    np.testing.assert_array_equal(read_by_highdicom(path, source), label[::-1])
    (measures,) = dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.SliceThickness == 8


def test_numbers_of_series_below_zero(tmp_path):
    path, *_ = written(tmp_path, series_files(SeriesNumber=-5))
    assert dcmread(path).SeriesNumber == 1005


def test_a_series_whose_uids_and_patient_were_removed(tmp_path):
    files = series_files(series="", StudyInstanceUID="", PatientID=None, PatientName=None)
    path, source, label, _ = written(tmp_path, files)
    data = dcmread(path)
    assert data.StudyInstanceUID and data.SeriesInstanceUID and data.PatientID == ""
    np.testing.assert_array_equal(read_by_highdicom(path, source), label[::-1])


def test_patients_whose_images_have_no_uids_are_not_of_one_study(tmp_path):
    studies = set()
    for name in ("first", "second"):
        files = series_files(series="", StudyInstanceUID="")
        for path in write_files(tmp_path / name / "ct", files):
            data = dcmread(path)
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = ""
            data.save_as(path)
        path, *_ = written_for(tmp_path / name, tmp_path / name / "ct")
        data = dcmread(path)
        studies.add(data.StudyInstanceUID)
        referenced = data.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert len({image.ReferencedSOPInstanceUID for image in referenced} - {""}) == len(files)
    assert len(studies) == 2


def test_two_multi_frame_files_cannot_be_referred_to(tmp_path):
    """Of one series, as some scanners cut them; nothing is written."""
    low, high = enhanced(body()[:6]), enhanced(body()[6:])
    for frame in high.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += 48.0
    with pytest.raises(InputError, match=r"IM000\d: .*no segmentation object can refer"):
        written(tmp_path, [low, high])
    assert not (tmp_path / "seg.dcm").exists()


def test_a_segment_that_no_slice_meets_is_left_out(tmp_path):
    """A tumour on an interpolated slice alone; the nearest slices show the kidney."""
    files = series_files()
    del files[5]
    write_files(tmp_path / "ct", files)
    source = read_series(find_series(tmp_path / "ct").series[0], resample_uneven=True)
    label = (kidneys()[::-1] > 0).astype(np.uint8)
    label[-6, 22:26, 18:21] = 2
    segments = write_segmentation(tmp_path / "seg.dcm", label, source, ALGORITHM)
    assert [segment.title for segment in segments] == ["Right kidney", "Left kidney"]
    label[label == 1] = 0  # and then nothing is left
    assert write_segmentation(tmp_path / "none.dcm", label, source, ALGORITHM) == []
    assert not (tmp_path / "none.dcm").exists()
