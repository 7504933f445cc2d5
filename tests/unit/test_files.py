"""Files: whole or not at all, and every failure names the path."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from renal import files
from renal.data.folds import read_assignments
from renal.errors import InputError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def disk_full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_json_text_and_arrays_are_read_as_they_were_written(tmp_path):
    files.write_json(tmp_path / "new" / "value.json", {"a": [1, None], "b": "ß"})
    assert files.read_json(tmp_path / "new" / "value.json") == {"a": [1, None], "b": "ß"}
    files.write_text(tmp_path / "text.md", "Größe\n")
    assert (tmp_path / "text.md").read_text(encoding="utf-8") == "Größe\n"
    array = np.asfortranarray(np.arange(24, dtype=np.float16).reshape(2, 3, 4))
    files.write_array(tmp_path / "array.npy", array)
    loaded = files.read_array(tmp_path / "array.npy")
    np.testing.assert_array_equal(loaded, array)
    assert isinstance(loaded, np.memmap) and loaded.dtype == array.dtype
    assert loaded.flags.c_contiguous and not loaded.flags.writeable
    assert names(tmp_path) == ["array.npy", "new", "text.md"]


def test_a_file_is_replaced_and_has_the_usual_permissions(tmp_path):
    path = tmp_path / "value.json"
    path.write_text("old")
    usual = tmp_path / "usual"
    usual.touch()
    files.write_json(path, 1)
    assert files.read_json(path) == 1
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_the_temporary_file_keeps_the_ending_and_lies_beside_the_target(tmp_path):
    with files.replacing(tmp_path / "label.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz") and temporary.parent == tmp_path
        assert temporary.name.startswith(".")


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, fault):
    path = tmp_path / "value.json"
    path.write_text("old")
    with pytest.raises(fault), files.replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise fault
    assert path.read_text() == "old"
    assert names(tmp_path) == ["value.json"]


def test_a_full_disk_is_told_with_the_path(tmp_path, monkeypatch):
    path = tmp_path / "array.npy"
    files.write_array(path, np.arange(3))
    monkeypatch.setattr(np, "save", disk_full)
    with pytest.raises(InputError, match=r"array\.npy: cannot be written \(No space left") as told:
        files.write_array(path, np.arange(4))
    assert str(path) in str(told.value) and "\n" not in str(told.value)
    monkeypatch.undo()
    assert len(files.read_array(path)) == 3
    assert names(tmp_path) == ["array.npy"]


@pytest.mark.parametrize("step", ["os.replace", "tempfile.mkstemp"])
def test_a_disk_that_fills_at_the_first_or_the_last_step_leaves_nothing(
    tmp_path, monkeypatch, step
):
    monkeypatch.setattr(f"renal.files.{step}", disk_full)
    with pytest.raises(InputError, match="No space left on device"):
        files.write_text(tmp_path / "table.csv", "a,b\n")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "folder").write_text("a file where a folder should be")
    with pytest.raises(InputError, match=r"folder/value\.json: cannot be written"):
        files.write_json(tmp_path / "folder" / "value.json", 1)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe\x00"])
def test_json_that_is_missing_or_damaged_is_told(tmp_path, content):
    path = tmp_path / "value.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"value\.json: cannot be read"):
        files.read_json(path)


def refusing(*_, **__):
    raise PermissionError(13, "Permission denied")


def test_json_that_may_not_be_read_is_not_to_be_deleted(tmp_path, monkeypatch):
    files.write_json(tmp_path / "value.json", 1)
    monkeypatch.setattr(Path, "read_text", refusing)
    with pytest.raises(
        InputError, match=r"value\.json: cannot be read \(.*denied\): mend its"
    ) as told:
        files.read_json(tmp_path / "value.json")
    assert "delete" not in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("fault", ["missing", "empty", "cut", "text", "pickled", "header", "zip"])
def test_an_array_that_is_missing_or_damaged_names_the_folder_to_delete(tmp_path, fault):
    path = tmp_path / "prepared" / "case_00000.0.image.npy"
    files.write_array(path, np.arange(1000))
    whole = path.read_bytes()
    if fault == "missing":
        path.unlink()
    elif fault == "pickled":
        np.save(path, np.array([{"code": "that would run"}]), allow_pickle=True)
    elif fault == "zip":
        with path.open("wb") as stream:
            np.savez(stream, a=np.arange(3))
    else:
        damaged = {"empty": b"", "cut": whole[:-8], "text": b"not an array at all" * 9}
        damaged["header"] = whole[:10] + b"('" * 59 + whole[128:]
        path.write_bytes(damaged[fault])
    with pytest.raises(InputError, match=f"delete the folder {path.parent}") as told:
        files.read_array(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_a_device_a_pipe_and_a_folder_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/null")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(InputError, match=f"{name}: no regular file"):
            files.write_text(tmp_path / name, "text")
    assert names(tmp_path) == ["folder", "link", "pipe"]
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()


def test_a_pipe_is_not_waited_for(tmp_path):
    """Nor for what a user may have put in place of folds.csv."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no regular file"):
        files.read_json(tmp_path / "pipe")
    with pytest.raises(InputError, match="no regular file"):
        read_assignments(tmp_path / "pipe", folds=2, seed=1)
