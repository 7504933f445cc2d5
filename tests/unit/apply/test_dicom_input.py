"""DICOM through `segment`: the same as NIfTI, results as DICOM-SEG, from and to archives."""

import json
import logging
import subprocess
import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from renal.__main__ import parser
from renal.apply.dicom_input import DicomInput, DicomOptions
from renal.apply.inputs import NiftiInput, find_inputs
from renal.errors import InputError
from renal.image.dicom_segmentation import Algorithm
from renal.image.volume import write_nifti
from renal.labels import KITS19
from renal.sources import PACKAGE

from ..image.dicom_files import (
    NUMBER,
    PATIENT,
    SHAPE,
    SPACING,
    body,
    enhanced,
    kidneys,
    position_of,
    series_files,
    slice_file,
    write_files,
)
from ..image.test_dicom_segmentation import read_by_highdicom
from .test_dicomweb import STUDY, archive  # noqa: F401  (a fixture)

OPTIONS = DicomOptions(Algorithm("resvnet", "1", "ab" * 32))


class Row:
    """Finds the test's kidneys wherever they are, or nothing."""

    finds = True

    def __init__(self, file, folds, *, bfloat16_on_cpu):
        self.file, self.folds, self.package = file, folds, file.package

    def segment(self, volume, spacing, name, stage):
        stage("kidney")
        assert volume.shape == SHAPE
        return kidneys()[::-1].copy() if self.finds else np.zeros(SHAPE, np.uint8)


@pytest.fixture
def package(monkeypatch):
    """A package that needs no models."""
    ranges = {"slice_spacing_mm": (1, 10), "field_of_view_mm": (100, 600)}
    package = SimpleNamespace(
        name="resvnet",
        title="Res-VNets",
        intended_use="Research use, not a medical device. For CT.",
        labels={1: "parenchyma", 2: "tumour"},
        scheme=KITS19,
        folds=1,
        bfloat16_on_cpu=False,
        stages={"kidney": None},
        provenance=SimpleNamespace(cases=["ab"], **ranges),
    )
    file = SimpleNamespace(package=package, digest="ab" * 32)
    monkeypatch.setattr("renal.apply.package.read_package", lambda path: file)
    monkeypatch.setattr("renal.apply.stages.Row", Row)


@pytest.fixture
def cts(tmp_path):
    """A folder with a NIfTI file and two patients' series."""
    folder = tmp_path / "cts"
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1])
    affine[:3, 3] = position_of(0) * [-1, -1, 1]
    write_nifti(folder / "a.nii.gz", np.ascontiguousarray(body().T), affine)
    write_files(folder / f"{PATIENT}/ct", series_files(series="1.1"))
    write_files(folder / "other", series_files(series="1.2", StudyInstanceUID="1.2.9"))
    return folder


def segment(*arguments):
    a = parser().parse_args(["segment", "--model", "x", *map(str, arguments)])
    a.step(a)()


def test_nifti_and_dicom_in_one_folder(cts, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    (cts / "notes.txt").touch()
    inputs = find_inputs(cts, tmp_path / "out", OPTIONS)
    assert [type(given) for given in inputs] == [NiftiInput, DicomInput, DicomInput]
    nifti, first, _ = (given.read() for given in inputs)
    np.testing.assert_array_equal(nifti.volume, first.volume)
    np.testing.assert_allclose(nifti.header.affine, first.header.affine)
    assert nifti.header.to_standard.tolist() == first.header.to_standard.tolist()
    assert caplog.messages == [f"{cts}: left out: 1 files that are not DICOM (notes.txt)"]


def test_nifti_alone_needs_no_dicom(cts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert len(find_inputs(cts / "a.nii.gz", tmp_path / "out", OPTIONS)) == 1


def test_segmented(cts, tmp_path, package, caplog, capsys):
    caplog.set_level(logging.INFO)
    out = tmp_path / "out"
    segment(cts, "--to", out, "--volumes", out / "volumes.csv", "--preview")
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 10 and names[0] == "a.json" and names[-1] == "volumes.csv"
    (first, second) = out.glob("*.dcm")
    assert {dcmread(path).StudyInstanceUID for path in (first, second)} == {"1.2.3", "1.2.9"}
    told = json.loads(first.with_suffix(".json").read_text())
    assert told["segmentation"] == first.name and told["package_sha256"] == "ab" * 32
    label = np.asarray(nib.load(out / "a.nii.gz").dataobj)
    np.testing.assert_array_equal(label.T, kidneys())
    said = caplog.text + capsys.readouterr().err + "".join(names)
    said += "".join(path.read_text() for path in [*out.glob("*.json"), *out.glob("*.csv")])
    assert NUMBER not in said and PATIENT not in said.replace(str(cts / PATIENT), "")


def test_what_was_put_right_stands_in_the_result(tmp_path, package):
    files = series_files()
    files[5].ImagePositionPatient = position_of(5.25).tolist()
    write_files(tmp_path / "ct", files)
    with pytest.raises(InputError, match=r"1 of 1 CTs .*\n.*uneven slices"):
        segment(tmp_path / "ct", "--to", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))
    segment(tmp_path / "ct", "--to", tmp_path / "out", "--resample-uneven")
    (told,) = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json"))
    assert any("resampled to even ones" in warning for warning in told["warnings"])


def test_values_that_are_no_hounsfield_units_are_refused(tmp_path, package):
    files = [slice_file(p, position_of(n), intercept=-1024) for n, p in enumerate(body())]
    for data in files:
        data.RescaleIntercept = 0
    write_files(tmp_path / "ct", files)
    with pytest.raises(InputError, match="not Hounsfield units"):
        segment(tmp_path / "ct", "--to", tmp_path / "out")


def test_nothing_found_is_said_by_an_empty_file(tmp_path, package, monkeypatch):
    write_files(tmp_path / "ct", series_files())
    segment(tmp_path / "ct", "--to", tmp_path / "out")
    monkeypatch.setattr(Row, "finds", False)
    segment(tmp_path / "ct", "--to", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.dcm"))
    (path,) = (tmp_path / "out").glob("*.nii.gz")
    assert not np.asarray(nib.load(path).dataobj).any()
    monkeypatch.setattr(Row, "finds", True)
    segment(tmp_path / "ct", "--to", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    assert len(list((tmp_path / "out").glob("*.dcm"))) == 1


def test_results_are_not_looked_at_as_inputs(tmp_path, package):
    write_files(tmp_path / "ct", series_files())
    segment(tmp_path, "--to", tmp_path / "out")
    segment(tmp_path, "--to", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_from_an_archive_and_back(archive, tmp_path, package):  # noqa: F811
    out = ["--to", tmp_path / "out", "--from-dicomweb", archive.url, "--study", STUDY]
    with pytest.raises(InputError, match="2 CT series in one study"):
        segment(*out)
    segment(*out, "--series", "1.2.3.4", "--to-dicomweb", archive.url)
    (stored,) = archive.stored.values()
    (path,) = (tmp_path / "out").glob("*.dcm")
    assert stored.SOPInstanceUID == dcmread(path).SOPInstanceUID
    archive.refuses = True
    with pytest.raises(InputError, match=r"2 of 2 results were not sent:\n.* is kept"):
        segment(*out, "--series", "all", "--to-dicomweb", archive.url)
    assert len(list((tmp_path / "out").glob("*.dcm"))) == 2


def test_sizes_replace_no_ct(cts, tmp_path, package):
    for named in (cts / "a.nii.gz", tmp_path):
        with pytest.raises(InputError, match=f"{named}: is no CSV file, and would be replaced by"):
            segment(cts, "--to", tmp_path / "out", "--volumes", named)
    assert not (tmp_path / "out").exists()


def test_nothing_that_is_no_dicom_is_sent(cts, archive, tmp_path, package, caplog):  # noqa: F811
    segment(cts / "a.nii.gz", "--to", tmp_path / "out", "--to-dicomweb", archive.url)
    assert not archive.stored and "a.nii.gz: no DICOM object" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name either a file or folder"),
        (["x", "--from-dicomweb", "http://x", "--study", "1.2"], "name either a file or folder"),
        (["x", "--study", "1.2"], "--study and --from-dicomweb go together"),
        (["--from-dicomweb", "http://x"], "--study and --from-dicomweb go together"),
        (["x", "--to-dicomweb", "pacs"], "pacs: no answer of DICOMweb .* nothing was segmented"),
        (["x", "--to-dicomweb", "http://me:secret@x"], "http://x: a password in the address"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, words, package):
    with pytest.raises(InputError, match=words):
        segment(*arguments, "--to", "y")


def test_the_same_voxels_as_from_nifti_with_real_networks(cts, packed, tmp_path):
    """As a program, from a folder with both."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "renal", "segment", cts, "--model", packed, "--to", out]
    command += ["--threads", "1"]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = np.asarray(nib.load(out / "a.nii.gz").dataobj).T
    assert expected.any()
    for given in find_inputs(cts, out, OPTIONS)[1:]:
        seen = read_by_highdicom(out / f"{given.name}.dcm", given.read())
        np.testing.assert_array_equal(seen, expected)


def test_a_single_multi_frame_file_is_a_series_and_no_nifti_file(tmp_path):
    (path,) = write_files(tmp_path / "ct", [enhanced()])
    (found,) = find_inputs(path, tmp_path / "out", OPTIONS)
    assert isinstance(found, DicomInput)
    assert found.read().volume.shape == SHAPE
