"""The command line: exit status, and one line instead of a traceback."""

import logging
import os
import sys
from pathlib import Path

import pytest

from renal import __main__ as command_line
from renal import sources
from renal.cluster.processes import TORCHRUN
from renal.data import commands, phantom
from renal.errors import InputError, Stopped
from renal.handover.checked import CheckedCase, write_checked
from renal.handover.seals import SEAL, check_seal

ARGUMENTS = ["phantom", "--labelled", "1", "--unlabelled", "0", "--seed", "0", "--size", "64"]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a step that ends with a fault, or with none; gives the exit status."""
    log = logging.getLogger("renal")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)

    def run_step(fault=None, *options):
        def work(*_, **__):
            if fault is not None:
                raise fault

        monkeypatch.setattr(phantom, "write_phantom", work)
        arguments = [*ARGUMENTS, "--output", str(tmp_path / "data"), *options]
        monkeypatch.setattr(sys, "argv", ["renal", *arguments])
        return command_line.main()

    return run_step


@pytest.fixture
def log_file(tmp_path):
    return tmp_path / "logs" / "phantom.log"


def test_a_step_that_went_well(run, log_file, capsys):
    assert run(None, "--log", str(log_file)) == 0
    assert capsys.readouterr() == ("", "")
    assert log_file.read_text().startswith("finished after 0.")


def test_a_log_on_a_full_disk_is_told_in_one_line(run, capsys):
    assert run(InputError("a.csv: damaged: mend it"), "--log", "/dev/full") == 1
    assert capsys.readouterr().err == "error: a.csv: damaged: mend it\n"
    assert run(None, "--log", "/dev/full") == 0
    told = "/dev/full: lines are missing (No space left on device): free space\n"
    assert capsys.readouterr().err == told


def test_a_pipe_that_nobody_reads_is_no_log(run, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert run(None, "--log", str(tmp_path / "pipe")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/pipe: ")


def test_a_name_that_is_no_utf8_is_told_and_logged(run, log_file, capsys, monkeypatch):
    # pytest, which would hand it from process to process, could not.
    monkeypatch.setattr(logging.getLogger("renal"), "propagate", False)
    name = os.fsdecode(b"m\xfcller.nii.gz")
    assert run(InputError(f"{name}: damaged: mend it"), "--log", str(log_file)) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert "error: m\\udcfcller.nii.gz: damaged" in log_file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("fault", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (InputError("a.csv: damaged: mend it"), 1, "error: a.csv: damaged: mend it"),
        (Stopped("stopped after epoch 2"), 1, "stopped after epoch 2"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_step_that_ends_early_is_told_in_one_line(run, log_file, capsys, fault, status, line):
    assert run(fault, "--log", str(log_file)) == status
    assert capsys.readouterr() == ("", f"{line}\n")
    (logged,) = log_file.read_text().splitlines()
    assert logged.endswith(f" {line}")


def short_of_memory():
    error = InputError("too little memory")
    error.__cause__ = RuntimeError("CUDA out of memory.")
    return error


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (InputError("a.csv: damaged: mend it"), ""),  # which the first one tells
        (Stopped("stopped after epoch 2"), ""),
        (short_of_memory(), "process 1: error: too little memory\n"),
        (OSError(5, "Input/output error"), "process 1: error: Input/output error: mend it"),
        (RuntimeError("CUDA error"), "process 1: internal error: RuntimeError: CUDA error"),
        (None, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_another_process_of_a_training_tells_what_it_meets_alone(
    run, log_file, capsys, monkeypatch, fault, line
):
    monkeypatch.setenv(TORCHRUN, "1")
    monkeypatch.setenv("RANK", "1")
    assert run(fault, "--log", str(log_file)) == (1 if fault else 0)
    told = capsys.readouterr().err
    assert told.startswith(line) and bool(told) == bool(line)
    assert line in log_file.read_text()
    assert bool(log_file.read_text()) == bool(line)


def test_a_fault_of_the_program_has_its_traceback_in_the_log(run, log_file, capsys):
    assert run(ValueError("odd"), "--log", str(log_file)) == 1
    told = capsys.readouterr().err
    assert told == f"internal error: ValueError: odd (see {log_file})\n"
    assert "Traceback" in log_file.read_text()


@pytest.mark.parametrize(
    "fault",
    [InputError("a.csv: damaged"), OSError(28, "No space left", "a.csv"), ValueError("a.csv")],
)
def test_debugging_shows_where_a_fault_arose(run, capsys, fault):
    assert run(fault, "--debug") == 1
    told = capsys.readouterr().err
    assert "a.csv" in told.splitlines()[0]
    assert "Traceback" in told and "in work" in told


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.parser().parse_args(["--version"])
    assert ended.value.code in (None, 0)
    assert capsys.readouterr().out == f"renal {sources.version()}\n"


# -- arguments ------------------------------------------------------------------------------------


def parsed(*arguments):
    return command_line.parser().parse_args(arguments)


def test_every_step_takes_output_log_threads_and_debug():
    a = parsed(*ARGUMENTS, "--output", "out", "--threads", "3", "--log", "a.log", "--debug")
    assert (a.step, a.output, a.log, a.threads) == (commands.phantom, Path("out"), Path("a.log"), 3)
    assert a.debug
    assert (a.labelled, a.unlabelled, a.seed, a.size) == (1, 0, 0, 64)
    a = parsed(*ARGUMENTS, "--output", "out")
    assert (a.log, a.threads, a.debug) == (None, 1, False)


def test_paths_with_names_and_several_of_them():
    collected = ["collect_segmentations", "--output", "out", "--checked", "a=x.json", "a=y=z.json"]
    a = parsed(*collected, "--segmentations", "a=one", "b=two")
    assert a.checked == [("a", Path("x.json")), ("a", Path("y=z.json"))]
    assert a.segmentations == [("a", Path("one")), ("b", Path("two"))]
    a = parsed("check_segmented", "--output", "out", "--checked", "a", "--segmentations", "b", "c")
    assert (a.checked, a.segmentations) == ([Path("a")], [Path("b"), Path("c")])


@pytest.mark.parametrize("path", ["one", "=one", ""])
def test_a_path_without_its_name_is_told(capsys, path):
    with pytest.raises(SystemExit):
        parsed(
            *("merge", "--output", "o", "--files", "f", "--checked", "c"),
            *("--settings", "", "--predictions", path),
        )
    assert f"name=path is expected (is {path!r})" in capsys.readouterr().err


def test_what_may_be_left_out_and_what_may_not(capsys):
    cropped = ["crop_roi", "--output", "out", "--files", "f", "--checked", "a", "--settings", "{}"]
    assert parsed(*cropped).prediction is None
    assert parsed(*cropped, "--prediction", "p").prediction == Path("p")
    with pytest.raises(SystemExit):
        parsed(*cropped[:-2])
    assert "--settings" in capsys.readouterr().err


# -- what passes between steps --------------------------------------------------------------------


@pytest.fixture
def step(monkeypatch):
    """Runs a step from its arguments; gives the exit status."""
    log = logging.getLogger("renal")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "level", log.level)

    def run_step(*arguments):
        monkeypatch.setattr(sys, "argv", ["renal", *map(str, arguments)])
        return command_line.main()

    return run_step


@pytest.fixture
def collecting(tmp_path, step):
    """The arguments of a step, and the file that it writes; what it reads is sealed."""
    record, scores, output = (tmp_path / name for name in ("a.json", "fold0.csv", "all.csv"))
    image, label = "c/imaging.nii.gz", "c/segmentation.nii.gz"
    write_checked(record, [CheckedCase("case_1", image, label, [2, 2, 2], [1.0, 1.0, 1.0])])
    scores.write_text("method,case,dice\nhao,case_1,0.5\n")
    for path in (record, scores):
        assert step("seal", "--output", path) == 0
    files = ["--checked", record, "--scores", scores]
    return ["collect_scores", *files, "--output", output], output


def test_what_a_step_writes_is_sealed_for_the_next(step, collecting):
    arguments, output = collecting
    assert step(*arguments) == 0
    check_seal(output)
    output.write_text("method,case,dice\nhao,case_1,0.6\n")
    with pytest.raises(InputError, match="damaged or changed"):
        check_seal(output)


@pytest.mark.parametrize("option", ["--checked", "--scores"])
@pytest.mark.parametrize("damage", ["cut off", "emptied", "{}", "edited", "without a seal"])
def test_what_is_not_as_it_was_written_is_refused(step, collecting, capsys, option, damage):
    arguments, output = collecting
    path = arguments[arguments.index(option) + 1]
    text = path.read_text()
    if damage == "without a seal":
        path.with_name(f".{path.name}{SEAL}").unlink()
    else:
        edited = text.replace("0.5", "0.9").replace("1.0", "2.0")
        path.write_text({"cut off": text[:-3], "emptied": "", "{}": "{}", "edited": edited}[damage])
    assert step(*arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert not output.exists()


def test_every_path_is_compared_but_data_and_what_was_fetched():
    def compared(*arguments):
        return [str(path) for path in command_line.handed_over(parsed(*arguments))]

    common = ("--output", "out", "--log", "a.log", "--settings", "{}")
    predictions = ("--predictions", "a=one", "b=two")
    merged = compared("merge", *common, "--files", "f", "--checked", "c", "d", *predictions)
    assert sorted(merged) == ["c", "d", "f", "one", "two"]
    trained = ("--prepared", "p", "q", "--seed", "1", "--name", "n", "--weights", "w")
    assert sorted(compared("train", *common, *trained)) == ["p", "q"]
    checked = ("--data", "data", "--files", "f", "--maximum-voxels", "9", "--cases", "a", "b")
    assert compared("validate", "--output", "out", *checked) == ["f"]
