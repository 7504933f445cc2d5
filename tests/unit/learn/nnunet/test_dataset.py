"""The data set of nnU-Net: our folds, labels in their images' geometry, images where they lie."""

import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from renal.errors import InputError
from renal.handover.case_files import write_files
from renal.learn.nnunet.dataset import description, splits, write_dataset
from renal.learn.nnunet.environment import linked_images
from renal.learn.nnunet.layout import LINKED


@pytest.fixture
def folds(checked):
    """Two folds of the three labelled cases."""
    labelled = [case for case in checked if case.labelled]
    return {"fold0": labelled[1:], "fold1": labelled[:1]}


@pytest.fixture
def written(folds, tmp_path):
    write_dataset(folds, tmp_path / "raw", regions=False)
    return tmp_path / "raw"


def test_the_splits_are_our_folds(folds):
    assert splits(folds) == [
        {"train": ["case_00000"], "val": ["case_00001", "case_00002"]},
        {"train": ["case_00001", "case_00002"], "val": ["case_00000"]},
    ]


def test_labels_have_exactly_the_images_geometry(written, shared_kits19):
    assert json.loads((written / "splits_final.json").read_text())[1]["val"] == ["case_00000"]
    for path in written.glob("*.nii.gz"):
        case = shared_kits19 / path.name.removesuffix(".nii.gz")
        image, label = nib.load(case / "imaging.nii.gz"), nib.load(path)
        assert np.array_equal(label.affine, image.affine)
        assert label.get_data_dtype() == np.uint8
        truth = nib.load(case / "segmentation.nii.gz")
        assert np.array_equal(np.asanyarray(label.dataobj), np.asanyarray(truth.dataobj))
    assert len(list(written.glob("*.nii.gz"))) == 3


def test_labels_in_another_axis_order_and_type_are_turned(written, folds, tmp_path):
    """As nibabel, not we, turns them."""
    case = folds["fold1"][0]
    other = nib.as_closest_canonical(nib.load(case.label_path))
    decimals = nib.Nifti1Image(other.get_fdata(dtype=np.float32), other.affine)
    nib.save(decimals, tmp_path / "turned.nii.gz")
    turned = {**folds, "fold1": [replace(case, label=str(tmp_path / "turned.nii.gz"))]}
    write_dataset(turned, tmp_path / "again", regions=False)
    name = f"{case.name}.nii.gz"
    assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()


def test_images_are_found_wherever_they_are(written, checked, monkeypatch, tmp_path):
    told = json.loads((written / "dataset.json").read_text())
    assert told["numTraining"] == len(told["dataset"]) == 3
    write_files(tmp_path / "files.json", {case.name: (Path(case.image), None) for case in checked})
    with linked_images(tmp_path / "files.json", written) as folder:
        monkeypatch.setenv(LINKED, str(folder))
        for name, files in told["dataset"].items():
            (image,) = files["images"]
            (case,) = (case for case in checked if case.name == name)
            assert Path(os.path.expandvars(image)).samefile(case.image)
            assert (written / files["label"]).exists()
    assert not folder.exists()
    assert told["overwrite_image_reader_writer"] == "NibabelIOWithReorient"


def test_an_image_that_is_not_packed_is_read_by_its_link(folds, tmp_path, monkeypatch):
    (case,) = folds["fold1"]
    plain = tmp_path / "CT.nii"
    nib.save(nib.load(case.image), plain)
    write_dataset({"fold0": [replace(case, image=str(plain))]}, tmp_path / "raw", regions=False)
    write_files(tmp_path / "files.json", {case.name: (plain, None)})
    told = json.loads((tmp_path / "raw/dataset.json").read_text())["dataset"][case.name]
    with linked_images(tmp_path / "files.json", tmp_path / "raw") as folder:
        monkeypatch.setenv(LINKED, str(folder))
        image = nib.load(os.path.expandvars(told["images"][0]))
        assert np.array_equal(image.dataobj, nib.load(case.image).dataobj)


def test_values_or_regions_are_learned(checked):
    plain = description(checked[:1], regions=False)
    assert plain["labels"] == {"background": 0, "parenchyma": 1, "tumour": 2}
    assert "regions_class_order" not in plain
    regions = description(checked[:1], regions=True)
    assert regions["labels"] == {"background": 0, "kidney": [1, 2], "tumour": [2]}
    assert regions["regions_class_order"] == [1, 2]


def test_a_label_that_is_gone_is_told(folds, tmp_path):
    gone = {**folds, "fold1": [replace(folds["fold1"][0], label=str(tmp_path / "gone.nii.gz"))]}
    with pytest.raises(InputError, match=r"gone\.nii\.gz"):
        write_dataset(gone, tmp_path / "raw", regions=False)
    assert not (tmp_path / "raw/dataset.json").exists()
