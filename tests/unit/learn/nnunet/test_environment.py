"""nnU-Net's Python, found, started, listened to and ended; a recorded one stands in its place."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from renal.errors import InputError, Stopped
from renal.learn.nnunet import environment
from renal.learn.nnunet.environment import check_environment, run
from renal.learn.nnunet.layout import VERSION
from renal.sources import PACKAGE

REPOSITORY = PACKAGE.parents[1]
# What is called in place of planning, training and prediction, in a copy of what starts them.
RECORDED = """
import logging, os, signal, sys, time
from renal.errors import InputError, Stopped

log = logging.getLogger("renal")

def epochs(name):
    print("2026-01-01 10:00:00: Epoch 0")
    log.info("%s: epoch 1/2", name)
    sys.stderr.write("a warning\\n")

def stop(name):
    raise Stopped(f"{name}: stopped after epoch 1 of 2")

def refuse(name):
    raise InputError(f"{name}: not planned")

def fail(name):
    raise RuntimeError("Some background worker is 6 feet under. Yuck.")

def die(name):
    if os.fork() == 0:
        time.sleep(600)  # holds the output open, as nnU-Net's loaders do
    os.kill(os.getpid(), signal.SIGKILL)

def variables(name):
    for key in sorted(os.environ):
        if key.startswith(("nnUNet", "PYTHON", "RENAL", "OMP")):
            log.info("%s=%s", key, os.environ[key])

def wait(name):
    child = os.fork()
    if child:
        log.info("%d %d", os.getpid(), child)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    for name in ("errors", "cluster/processes", "learn/nnunet/driver"):
        path = folder / "renal" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PACKAGE / f"{name}.py", path)
    for parent in ("", "cluster", "learn", "learn/nnunet"):
        (folder / "renal" / parent / "__init__.py").touch()
    (folder / "renal/learn/nnunet/recorded.py").write_text(RECORDED)
    return folder


def python_with(folder: Path, version: str) -> Path:
    """A Python that says it has a version of nnU-Net, or none."""
    path = folder / "python"
    answer = f"echo {version}" if version else "exit 1"
    path.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && {{ {answer}; exit; }}\nexec {sys.executable} "$@"\n'
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def call(package, tmp_path, monkeypatch, caplog):
    """A function that runs a recorded one; what was said for people."""
    monkeypatch.setattr(environment, "PACKAGE", package)
    python = python_with(tmp_path, VERSION)
    caplog.set_level(logging.INFO)

    def work(name: str, threads: int = 1, **variables: Path) -> list[str]:
        log_file = tmp_path / "log"
        run(python, f"recorded.{name}", {"name": Path("row")}, threads, log_file, variables)
        return caplog.messages

    return work


def test_what_is_for_people_is_said_and_nnunets_own_words_go_to_the_log(call, tmp_path):
    (tmp_path / "log").write_text("before\n")
    assert call("epochs") == ["row: epoch 1/2"]
    assert (tmp_path / "log").read_text().splitlines() == [
        "before",
        "2026-01-01 10:00:00: Epoch 0",
        "a warning",
    ]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("stop", Stopped, "row: stopped after epoch 1 of 2"),
        ("refuse", InputError, "row: not planned"),
        ("fail", InputError, "nnU-Net ended with an error (see LOG): RuntimeError: Some background "
         "worker is 6 feet under. Yuck."),
        ("die", InputError, "nnU-Net ended with an error (see LOG): it was killed, mostly for want "
         "of memory"),
    ],
)  # fmt: skip
def test_how_it_ends_is_told_in_one_line(call, tmp_path, name, kind, words):
    with pytest.raises(kind) as error:
        call(name)
    assert str(error.value) == words.replace("LOG", str(tmp_path / "log"))


def test_it_sees_our_folders_and_nothing_that_was_left_over(call, package, monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_results", "/elsewhere")
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    monkeypatch.setenv("nnUNet_compile", "f")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    for needed in ("SLURM", "BROWSER"):  # of these tests
        monkeypatch.delenv(f"RENAL_NEEDS_{needed}", raising=False)
    monkeypatch.chdir(tmp_path)
    told = dict(line.split("=", 1) for line in call("variables", 4, nnUNet_raw=Path("raw")))
    assert told == {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(package),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "RENAL_PARENT": str(os.getpid()),
        "nnUNet_compile": "f",
        "nnUNet_def_n_proc": "4",
        "nnUNet_n_proc_DA": "3",
        "nnUNet_raw": str(tmp_path / "raw"),
    }


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_all_ends_with_the_step_however_that_ends(package, tmp_path, number):
    program = (
        "import logging; from pathlib import Path; logging.basicConfig(level='INFO')\n"
        "from renal.learn.nnunet import environment as e\n"
        f"e.PACKAGE = Path({str(package)!r})\n"
        f"e.run(Path({str(python_with(tmp_path, VERSION))!r}), 'recorded.wait', {{'name': 'row'}},"
        " 1, None, {})"
    )
    variables = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    # A job in the background, as these tests may be, ignores the interrupt.
    start = ["env", "--default-signal=INT", sys.executable, "-c", program]
    step = subprocess.Popen(start, stderr=subprocess.PIPE, text=True, env=variables)
    started = [int(pid) for pid in re.findall(r"\d+", step.stderr.readline())]
    assert len(started) == 2
    step.send_signal(number)
    step.wait(20)
    deadline = time.monotonic() + 20
    while left := [pid for pid in started if is_alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    step.stderr.close()


def is_alive(pid: int) -> bool:
    try:
        return " Z" not in Path(f"/proc/{pid}/status").read_text().partition("State:")[2][:4]
    except (FileNotFoundError, ProcessLookupError):  # ended before, or while it is read
        return False


@pytest.mark.parametrize(
    ("version", "words"),
    [("2.8.0", f"nnU-Net 2.8.0, but {VERSION} is needed"), ("", "nnU-Net is not installed there")],
)
def test_an_environment_that_does_not_do_is_told_with_the_remedy(tmp_path, version, words):
    with pytest.raises(InputError) as error:
        check_environment(python_with(tmp_path, version))
    assert words in str(error.value) and "`make nnunet`" in str(error.value)
    with pytest.raises(InputError, match="no environment with nnU-Net"):
        check_environment(tmp_path / "missing")


def test_it_has_a_lock_of_its_own_that_agrees_with_ours():
    ours, own = (pins(REPOSITORY / name) for name in ("requirements.lock", "envs/nnunet.lock"))
    assert own["nnunetv2"] == VERSION
    assert "nnunetv2" not in ours
    assert {name: own[name] for name in ours.keys() & own.keys()} == {
        name: ours[name] for name in ours.keys() & own.keys()
    }
    listed = yaml.safe_load((REPOSITORY / "envs/nnunet.yaml").read_text())["dependencies"][-1]
    assert dict(map(pin, listed["pip"])).items() <= (ours | own).items()


def pins(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(pin(line) for line in lines if not line.startswith("#"))


def pin(line: str) -> tuple[str, str]:
    name, _, version = line.partition("==")
    return name.lower().replace("_", "-"), version
