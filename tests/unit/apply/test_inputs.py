"""Which files are CTs, and what their results are called."""

import logging

import numpy as np
import pytest

from renal.apply.dicom_input import DicomOptions
from renal.apply.inputs import find_inputs
from renal.errors import InputError
from renal.image.dicom_segmentation import Algorithm
from renal.image.volume import write_nifti


def touched(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_nested_folder_gives_nested_names(tmp_path):
    touched(tmp_path, "b.nii.gz", "a/c.nii", "a/d/e.nii.gz", "notes.txt", ".hidden.nii.gz")
    names = [given.name for given in find_inputs(tmp_path, tmp_path / "out")]
    assert names == ["a/c", "a/d/e", "b"]


def test_images_of_other_formats_are_left_out_and_said(tmp_path, caplog):
    """Also by endings in capitals, as some systems write them."""
    caplog.set_level(logging.INFO)
    touched(tmp_path, "b.nii.gz", "B.NII.GZ", "a/c.mha", "a/d.dcm", "b.json", "out/e.nrrd")
    inputs = find_inputs(tmp_path, tmp_path / "out")
    assert [given.name for given in inputs] == ["b"]
    assert caplog.messages == [
        f"{tmp_path}: left out: 3 images that are neither .nii.gz, .nii nor DICOM: "
        "B.NII.GZ, a/c.mha, a/d.dcm"
    ]


def test_a_series_that_is_named_where_there_is_no_dicom(tmp_path):
    """All else was segmented without a word."""
    touched(tmp_path, "b.nii.gz")
    options = DicomOptions(Algorithm("resvnet", "1", "ab" * 32), series=("series_1a2b3c4d",))
    for given in (tmp_path, tmp_path / "b.nii.gz"):
        with pytest.raises(InputError, match="--series series_1a2b3c4d: no DICOM there: leave it"):
            find_inputs(given, tmp_path / "out", options)


def test_results_are_no_inputs_of_the_next_run(tmp_path):
    touched(tmp_path, "b.nii.gz", "out/b.nii.gz")
    assert [given.name for given in find_inputs(tmp_path, tmp_path / "out")] == ["b"]


def test_a_file(tmp_path):
    (given,) = find_inputs(tmp_path / "ct.nii.gz", tmp_path / "out")
    assert given.name == "ct"


def test_nothing_and_two_of_a_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="name a folder with CTs"):
        find_inputs(tmp_path, tmp_path / "out")
    touched(tmp_path, "b.nii.gz", "b.nii")
    with pytest.raises(InputError, match="rename one of them"):
        find_inputs(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("given", "output"), [("", ""), ("b.nii.gz", ""), ("a", "linked"), ("", "c/..")]
)
def test_results_that_would_replace_cts_are_refused(given, output, tmp_path):
    """A CT and its label map would have the same name, and the CT would be lost."""
    touched(tmp_path, "b.nii.gz", "a/b.nii.gz", "c/d.nii.gz")
    (tmp_path / "linked").symlink_to("a")
    with pytest.raises(InputError, match="has CTs, which results could replace"):
        find_inputs(tmp_path / given, tmp_path / output)


def test_results_that_would_replace_what_links_lead_to_are_refused(tmp_path):
    touched(tmp_path, "real/b.nii.gz", "cts/a.nii.gz")
    (tmp_path / "cts/b.nii.gz").symlink_to(tmp_path / "real/b.nii.gz")
    with pytest.raises(InputError, match=f"{tmp_path}/real: has CTs"):
        find_inputs(tmp_path / "cts", tmp_path / "real")


def test_a_ct_that_is_no_input_is_not_replaced_either(tmp_path):
    touched(tmp_path, "new/a.nii.gz")
    old, affine = tmp_path / "old/a.nii.gz", np.diag([-1, -1, 2, 1])
    write_nifti(old, np.zeros((4, 4, 4), np.int16), affine)
    with pytest.raises(InputError, match=f"{old}: is no label map, and would be replaced by one"):
        find_inputs(tmp_path / "new", tmp_path / "old")
    write_nifti(old, np.zeros((4, 4, 4), np.uint8), affine)
    assert [given.name for given in find_inputs(tmp_path / "new", tmp_path / "old")] == ["a"]


def test_a_link_that_leads_to_itself_is_told_where_it_is_read(tmp_path):
    touched(tmp_path, "cts/a.nii.gz")
    (tmp_path / "cts/b.nii.gz").symlink_to("b.nii.gz")
    inputs = find_inputs(tmp_path / "cts", tmp_path / "out")
    assert [given.name for given in inputs] == ["a", "b"]
    with pytest.raises(InputError, match=r"b\.nii\.gz: "):
        inputs[1].read()
