"""Seals: what is not as it was written is told, and nothing else is."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.errors import InputError
from renal.handover.checksums import checksum
from renal.handover.seals import SEAL, check_seal, sealed_in, write_seal


@pytest.fixture
def folder(tmp_path):
    """A sealed folder of two files and a hidden one."""
    folder = tmp_path / "prepared"
    folder.mkdir()
    (folder / "case_0.npy").write_bytes(b"zero" * 1000)
    (folder / "case_1.npy").write_bytes(b"one" * 1000)
    (folder / ".snakemake_timestamp").touch()
    write_seal(folder)
    return folder


def assert_told(path, *words):
    with pytest.raises(InputError) as error:
        check_seal(path)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_what_is_as_it_was_written_passes(folder, tmp_path):
    check_seal(folder)
    check_seal(folder / "case_1.npy")
    assert set(sealed_in(folder)) == {"case_0.npy", "case_1.npy"}
    alone = tmp_path / "fold0.csv"
    alone.write_text("a,b\n")
    write_seal(alone)
    check_seal(alone)
    # Beside it, what was not sealed changes nothing.
    (folder / "notes.txt").write_text("mine")
    (folder / ".snakemake_timestamp").write_text("later")
    check_seal(folder)


def test_a_checksum_is_the_same_for_any_size_of_block(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"123456789")
    assert checksum(path) == "cbf43926"  # the check value of CRC-32
    monkeypatch.setattr("renal.handover.checksums.BLOCK", 2)
    assert checksum(path) == "cbf43926"


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_no_damage_of_a_file_passes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("sealed") / "scores.csv"
    content = data.draw(st.binary(min_size=1, max_size=200))
    path.write_bytes(content)
    write_seal(path)
    place = data.draw(st.integers(0, len(content) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    flipped = content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    for damaged in (flipped, content[:place], content + b"\0"):
        path.write_bytes(damaged)
        assert_told(path, f"{path}: damaged or changed", f"delete {path}")
    path.write_bytes(content)
    check_seal(path)


def test_files_in_each_others_place_are_told(folder):
    zero, one = (folder / f"case_{number}.npy" for number in range(2))
    first, second = zero.read_bytes(), one.read_bytes()
    zero.write_bytes(second)
    one.write_bytes(first)
    assert_told(folder, f"{zero}: damaged or changed", f"delete the folder {folder}")
    assert_told(one, f"{one}: damaged or changed", f"delete {one}")


def test_a_missing_file_is_told(folder):
    (folder / "case_1.npy").unlink()
    assert_told(folder, f"{folder / 'case_1.npy'}: missing", f"delete the folder {folder}")
    assert_told(folder / "case_1.npy", "case_1.npy: missing")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"{}", b'{"case_0.npy": 1}', b"\xff"])
def test_a_damaged_seal_is_told(folder, content):
    (folder / SEAL).write_bytes(content)
    assert_told(folder, "delete")
    assert_told(folder / "case_0.npy", "delete")


def test_what_has_no_seal_is_refused_until_somebody_vouches_for_it(folder):
    (folder / SEAL).unlink()
    remedy = f"python -m renal seal --output {folder}"
    assert_told(folder, f"{folder}: no seal", "hidden files", remedy)
    model = folder / "case_0.npy"
    assert_told(model, f"{model}: no seal", f"python -m renal seal --output {model}")
    write_seal(model)
    check_seal(model)
    assert_told(folder, "no seal")


def test_a_folder_without_files_may_be_sealed(tmp_path):
    write_seal(tmp_path)
    check_seal(tmp_path)
    assert sealed_in(tmp_path) == {}


def test_vouching_for_a_file_ends_when_its_folder_is_written_again(folder):
    model = folder / "case_0.npy"
    write_seal(model)
    model.write_text("another")
    write_seal(folder)
    check_seal(model)
    assert json.loads((folder / SEAL).read_text())["case_0.npy"] == checksum(model)


@pytest.mark.parametrize("name", ["pipe", "zero"])
def test_nobody_vouches_for_what_never_ends(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=f"{name}: no regular file"):
        write_seal(tmp_path / name)
