"""The data set of nnU-Net: our folds, labels in their images' geometry, images where they lie."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from renal.errors import InputError
from renal.learn.nnunet.dataset import DATA, description, splits, write_dataset


@pytest.fixture
def folds(checked):
    """Two folds of the three labelled cases."""
    labelled = [case for case in checked if case.labelled]
    return {"fold0": labelled[1:], "fold1": labelled[:1]}


@pytest.fixture
def written(folds, shared_kits19, tmp_path):
    write_dataset(folds, shared_kits19, tmp_path / "raw", regions=False)
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
    write_dataset(turned, Path(case.image).parents[1], tmp_path / "again", regions=False)
    name = f"{case.name}.nii.gz"
    assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()


def test_images_are_found_wherever_the_data_folder_is(
    written, shared_kits19, monkeypatch, tmp_path
):
    moved = shutil.copytree(shared_kits19, tmp_path / "moved")
    monkeypatch.setenv(DATA, str(moved))
    told = json.loads((written / "dataset.json").read_text())
    assert told["numTraining"] == len(told["dataset"]) == 3
    for name, files in told["dataset"].items():
        (image,) = files["images"]
        assert Path(os.path.expandvars(image)) == moved / name / "imaging.nii.gz"
        assert (written / files["label"]).exists()
    assert told["overwrite_image_reader_writer"] == "NibabelIOWithReorient"


def test_values_or_regions_are_learned(checked, shared_kits19):
    plain = description(checked[:1], shared_kits19, regions=False)
    assert plain["labels"] == {"background": 0, "parenchyma": 1, "tumour": 2}
    assert "regions_class_order" not in plain
    regions = description(checked[:1], shared_kits19, regions=True)
    assert regions["labels"] == {"background": 0, "kidney": [1, 2], "tumour": [2]}
    assert regions["regions_class_order"] == [1, 2]


def test_a_label_that_is_gone_is_told(folds, shared_kits19, tmp_path):
    gone = {**folds, "fold1": [replace(folds["fold1"][0], label=str(tmp_path / "gone.nii.gz"))]}
    with pytest.raises(InputError, match=r"gone\.nii\.gz"):
        write_dataset(gone, shared_kits19, tmp_path / "raw", regions=False)
    assert not (tmp_path / "raw/dataset.json").exists()
