"""Lists of cases that lie beside them."""

import json
import os

import pytest

from renal.data.cases import find_cases
from renal.data.lists import listed_spacings
from renal.errors import InputError


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
