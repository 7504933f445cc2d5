"""Lists of cases that lie beside them."""

import json
import os

import pytest

from renal.data.cases import find_cases
from renal.data.lists import listed_spacings, read_rows, refuse_other_labels
from renal.errors import InputError
from renal.labels import KITS19
from renal.recipe.schemes import KITS23


def test_spacings_are_listed_by_case(tmp_path):
    assert listed_spacings(tmp_path) == {}
    spacing = {"z_spacing": 3, "y_spacing": 0.8, "x_spacing": 0.7}
    entries = [{"case_id": "case_00001", "voxel_spacing": spacing}, {"case_id": "case_00002"}]
    (tmp_path / "kits.json").write_text(json.dumps([*entries, 5, {"voxel_spacing": spacing}]))
    assert listed_spacings(tmp_path) == {"case_00001": spacing, "case_00002": None}
    (tmp_path / "kits.json").write_text("{}")
    with pytest.raises(InputError, match=r"kits\.json: a list of cases is expected"):
        listed_spacings(tmp_path)


def test_a_list_with_a_mark_of_byte_order_is_read(tmp_path):
    entries = [{"case_id": "case_00001", "voxel_spacing": {"z_spacing": 3}}]
    (tmp_path / "kits.json").write_text(json.dumps(entries), encoding="utf-8-sig")
    assert listed_spacings(tmp_path) == {"case_00001": {"z_spacing": 3}}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b"[" + b"1" * 5000 + b"]", None])
def test_a_list_that_cannot_be_read_is_told_and_not_to_be_deleted(tmp_path, content):
    path = tmp_path / "kits.json"
    if content is None:
        path.symlink_to("nowhere")
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read") as told:
        listed_spacings(tmp_path)
    message = str(told.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and "delete" not in message


@pytest.mark.parametrize("name", ["kits.json", "dataset.json"])
def test_a_pipe_in_place_of_a_list_is_told_and_waits_for_nobody(tmp_path, name):
    (tmp_path / "imagesTs").mkdir()
    (tmp_path / "imagesTs/x_0000.nii.gz").touch()
    os.mkfifo(tmp_path / name)
    read = listed_spacings if name == "kits.json" else find_cases
    with pytest.raises(InputError, match=rf"{name}: cannot be read \(.*no regular file"):
        read(tmp_path)


# As KiTS19's and KiTS23's are written for nnU-Net, the latter with and without regions.
SECOND = {"background": 0, "kidney": 1, "tumor": 2}
THIRD = {"background": 0, "kidney": [1, 2, 3], "masses": [3, 2], "tumor": 2}


@pytest.mark.parametrize(
    ("named", "labels", "about"),
    [
        (SECOND, KITS19, None),
        ({"0": "background", "1": "Kidney", "2": "Tumor"}, KITS19, None),
        (THIRD, KITS23, None),
        ({**SECOND, "cyst": 3}, KITS23, None),
        ({"liver": 1, "stone": "7", "kidney": None}, KITS19, "kidney is None"),
        ({"background": 0, "kidney": 2, "tumor": 1}, KITS19, "tumor is 1"),
        ({"0": "background", "1": "tumour", "2": "kidney"}, KITS19, "tumour is 1"),
        ({**SECOND, "cyst": 2, "tumor": 3}, KITS23, "cyst is 2|tumor is 3"),
        (THIRD, KITS19, r"kidney is \[1, 2, 3\]"),
        ([1, 2], KITS19, None),
    ],
)
def test_labels_that_mean_something_else_are_refused(tmp_path, named, labels, about):
    """KiTS23's official dataset.json, and labels that are swapped, which score 0 without a word."""
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": named}))
    if about is None:
        refuse_other_labels(path, labels)
        return
    with pytest.raises(InputError, match=about) as told:
        refuse_other_labels(path, labels)
    assert str(told.value).startswith(f"{path}: ") and "\n" not in str(told.value)


def test_labels_without_a_description_are_what_data_labels_says(tmp_path):
    refuse_other_labels(tmp_path / "dataset.json", KITS19)


@pytest.mark.parametrize(
    ("columns", "words"),
    [("image,label,label", "several columns 'label'"), ("Image,label,x", "no column image")],
)
def test_columns_that_are_missing_or_there_twice_are_told(tmp_path, columns, words):
    """Of two columns the last would count, and cases would have no label."""
    (tmp_path / "cases.csv").write_text(f"{columns}\na.nii.gz,b.nii.gz,\n")
    with pytest.raises(InputError, match=rf"cases\.csv: {words}"):
        read_rows(tmp_path / "cases.csv", "image")


def test_blanks_and_columns_without_a_name_do_no_harm(tmp_path):
    (tmp_path / "cases.csv").write_text("image, label ,,\n a.nii.gz , b.nii.gz,,\n")
    [(line, row)] = read_rows(tmp_path / "cases.csv", "image")
    assert (line, row["image"], row["label"]) == (2, "a.nii.gz", "b.nii.gz")
