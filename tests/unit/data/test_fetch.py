"""A data set from its official places, as a run reads it."""

import io
import json
import shutil
import sys
from collections import namedtuple

import pytest

from renal import __main__ as command_line
from renal.data import fetch as module
from renal.data.cases import find_cases
from renal.data.fetch import TransferProgress, fetch
from renal.data.remote import Servers
from renal.data.transfer import RemoteFile, Unreachable
from renal.data.validation import check_case
from renal.errors import InputError


@pytest.fixture
def published(official, shared_kits19, tmp_path):
    """Three labelled cases, an unlabelled one, and outlines of one by two annotators."""
    folder = shutil.copytree(shared_kits19, tmp_path / "published")
    (folder / "kits.json").write_text(json.dumps([{"case_id": "case_00000"}]))
    label, instances = folder / "case_00001/segmentation.nii.gz", folder / "case_00001/instances"
    instances.mkdir()
    for name in ("kidney_instance-1_annotation-1", "kidney_instance-1_annotation-2"):
        shutil.copy(label, instances / f"{name}.nii.gz")
    for challenge in ("kits19", "kits23"):
        official.publish(challenge, folder)
    return folder


def files_in(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def got(official, folder, name="kits19", **changed):
    fetch(name, folder, accepted=True, servers=official.servers, **changed)
    return files_in(folder)


def test_what_is_fetched_is_what_a_run_reads(official, published, tmp_path, capsys):
    found = got(official, tmp_path / "data")
    expected = {k: v for k, v in files_in(published).items() if "instances" not in k}
    assert found == expected
    cases = find_cases(tmp_path / "data")
    assert [case.labelled for case in cases] == [True, True, True, False]
    assert not any(check_case(case, maximum_voxels=10**7).fault for case in cases)
    assert capsys.readouterr().err.endswith("GB in 8 files are there\n")


def test_only_what_is_asked_for(official, published, tmp_path):
    label = {"case_00002/segmentation.nii.gz", "kits.json"}
    assert set(got(official, tmp_path / "a", cases=["2"], parts=["labels"])) == label
    images = {"case_00002/imaging.nii.gz", "case_00003/imaging.nii.gz"}
    assert set(got(official, tmp_path / "b", cases=["2-3"], parts=["images"])) == images
    outlines = got(official, tmp_path / "c", "kits23", cases=["1"], parts=["instances"])
    assert sorted(path.rpartition("-")[2] for path in outlines) == ["1.nii.gz", "2.nii.gz"]


def test_a_second_run_goes_on_and_verifies(official, published, tmp_path):
    whole = got(official, tmp_path / "data")
    (tmp_path / "data/case_00001/imaging.nii.gz").unlink()
    official.asked.clear()
    assert got(official, tmp_path / "data") == whole
    fetched = [path for path, _ in official.asked if path.endswith(".nii.gz")]
    assert fetched == [official.path_of("/case_00001.nii.gz")]


def test_a_file_that_cannot_be_had_stops_no_other(official, published, tmp_path):
    for end in ("/images/case_00000.nii.gz", "/kits19/master/data/case_00001/segmentation.nii.gz"):
        del official.files[official.path_of(end)]
    with pytest.raises(InputError) as fault:
        got(official, tmp_path / "data")
    first, second, last = str(fault.value).splitlines()
    assert "case_00000.nii.gz: the server has no such file (404)" in first
    assert "case_00001/segmentation.nii.gz: the server has no such file (404)" in second
    assert last == "2 of 8 files were not fetched; all others are there"
    assert len(files_in(tmp_path / "data")) == 6


def test_a_server_that_is_gone_ends_it_at_once(official, published, tmp_path, monkeypatch):
    monkeypatch.setattr("renal.data.transfer.ATTEMPTS", 1)
    gone = [lambda handler, content: handler.reply(503, b"")] * 2
    official.fail("/images/case_00001.nii.gz", *gone)
    with pytest.raises(Unreachable):
        got(official, tmp_path / "data", parts=["images"])
    assert list(files_in(tmp_path / "data")) == ["case_00000/imaging.nii.gz"]


@pytest.mark.parametrize(
    ("cases", "told"),
    [
        (["7"], "--cases: kits19 has no images or labels of case_00007: choose others"),
        (["0-300"], r"of case_00004, case_00005, .*, \.\.\. case_00300 \(297 cases\)"),
        (["3-1"], "--cases 3-1: a number or a range"),
        (["case_00001"], "--cases case_00001: a number or a range"),
        (["0-999999999"], "a number or a range"),
    ],
)
def test_cases_that_are_not_there(official, published, tmp_path, cases, told):
    with pytest.raises(InputError, match=told):
        got(official, tmp_path / "data", cases=cases)
    assert not (tmp_path / "data").exists()


def test_parts_that_are_not_there(official, published, tmp_path):
    shutil.rmtree(published / "case_00001/instances")
    official.files.clear()
    official.publish("kits19", published)
    with pytest.raises(
        InputError, match=r"kits19 has no instances of case_00000, .* \(300 cases\)"
    ):
        got(official, tmp_path / "data", parts=["instances"])


def test_images_without_a_label_are_told(official, published, tmp_path, caplog):
    got(official, tmp_path / "data", cases=["2-3"])
    assert caplog.messages == ["kits19 has no label of case_00003: they can only be segmented"]


def test_nothing_is_fetched_before_the_licence_is_accepted(official, published, tmp_path):
    with pytest.raises(InputError, match=r"CC BY-NC-SA 4\.0 \(https.*--accept-licence"):
        fetch("kits19", tmp_path / "data", accepted=False, servers=official.servers)
    assert not official.asked


def test_a_disk_that_is_too_small_is_told_before(official, published, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    with pytest.raises(InputError, match=r"GB are to come, 0.0 GB are free: make room"):
        got(official, tmp_path / "data")
    assert not files_in(tmp_path / "data")


# -- the command ----------------------------------------------------------------------------------


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["renal", *map(str, arguments)])
    return command_line.main()


def test_the_command(official, published, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "Servers", lambda: official.servers)
    arguments = ["fetch", "kits19", "--to", tmp_path / "data", "--cases", "0-1"]
    assert run(monkeypatch, *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: kits19: its licence is CC BY-NC-SA 4.0")
    assert run(monkeypatch, *arguments, "--accept-licence") == 0
    assert len(files_in(tmp_path / "data")) == 5


def test_the_official_places_are_those_that_are_known():
    places = Servers()
    assert places.github == "https://api.github.com"
    assert places.github_files == "https://raw.githubusercontent.com"
    assert places.hub == "https://huggingface.co"


# -- how far it is --------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_a_bar_and_what_is_left(monkeypatch):
    seconds = iter([0.0, 0.0, 0.1, 10.0, 20.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))
    file = RemoteFile("", "case_00000/imaging.nii.gz", 4 * 10**9, ("git", ""))
    stream = Terminal()
    progress = TransferProgress([file], stream)
    progress.begin(file)
    progress.there(10**9)  # too soon for another line
    progress.came(10**9)
    progress.in_vain(10**9)
    progress.end()
    first, last = stream.getvalue().split("\r\x1b[2K")[1:3]
    bar = "[" + "#" * 12 + " " * 12 + "]"
    assert first == (f"{bar} 2.00 of 4.00 GB, file 1 of 1, 0:00:20 left: case_00000/imaging.nii.gz")
    assert last.startswith("[######")
    assert stream.getvalue().endswith("1.00 GB in 1 files are there\n")


@pytest.fixture
def logged(monkeypatch):
    """The progress of a file of 2 GB, half a minute after the last line, and the log it goes to."""
    seconds = iter([0.0, 1.0, 2.0, 31.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))
    file = RemoteFile("", "kits.json", 2 * 10**9, ("git", ""))
    stream = io.StringIO()
    progress = TransferProgress([file], stream)
    progress.begin(file)
    return progress, stream


def test_a_log_sees_a_line_now_and_then(logged):
    progress, stream = logged
    progress.came(5 * 10**8)
    progress.came(5 * 10**8)
    (line,) = stream.getvalue().splitlines()
    assert "1.00 of 2.00 GB" in line
    assert "\r" not in line


def test_while_nothing_comes_nothing_is_said_of_what_is_left(logged):
    progress, stream = logged
    progress.there(10**9)
    progress.there(0)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("1.00 of 2.00 GB, file 1 of 1: kits.json")
