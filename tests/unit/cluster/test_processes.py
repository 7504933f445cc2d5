"""Steps end with who started them, orderly, and only our own launcher's variables count."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import renal
from renal.cluster import processes

WORKFLOW = Path(renal.__file__).parents[1]
# A step that says when it has begun, and then works until it is ended.
STEP = """
import sys, time
from pathlib import Path
from renal import __main__, steps
from renal.data import phantom
def work(output, **_):
    try:
        output.write_text("begun")
        time.sleep(30)
    finally:
        output.write_text("ended")
phantom.write_phantom = work
sys.argv = ["renal", "phantom", "--labelled", "1", "--unlabelled", "0", "--seed", "0",
            "--size", "64", "--output", sys.argv[1]]
sys.exit(__main__.main())
"""


def wait_for(path, text):
    for _ in range(600):
        if path.exists() and path.read_text() == text:
            return
        time.sleep(0.05)
    pytest.fail(f"{path} never said {text}")


def start(output):
    """A shell that runs the step in its own place, below another shell that it ends with."""
    environment = os.environ | {"PYTHONPATH": str(WORKFLOW)}
    script = 'bash -c "export RENAL_PARENT=\\$PPID; exec \\"\\$@\\"" step "$@" & wait'
    return subprocess.Popen(
        ["bash", "-c", script, "run", sys.executable, "-c", STEP, str(output)],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_a_step_ends_with_the_run_that_started_it(tmp_path):
    output = tmp_path / "said"
    run = start(output)
    wait_for(output, "begun")
    run.kill()
    run.wait()
    wait_for(output, "ended")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells of a parent's end")
def test_a_step_whose_parent_is_gone_already_ends_itself(monkeypatch):
    asked, killed = [], []
    libc = SimpleNamespace(prctl=lambda *given: asked.append(given))
    monkeypatch.setattr(processes.ctypes, "CDLL", lambda _: libc)
    monkeypatch.setattr(os, "kill", lambda *given: killed.append(given))
    processes.end_with_parent()
    assert not asked  # nobody said whom it works for
    for parent, gone in ((str(os.getpid()), False), ("99999999999", True)):
        monkeypatch.setenv(processes.PARENT, parent)
        processes.end_with_parent()
        assert asked.pop() == (processes.SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        assert killed == [(os.getpid(), signal.SIGTERM)] * gone


def test_a_closed_terminal_ends_a_step_unless_it_is_to_be_ignored(tmp_path):
    program = [sys.executable, "-c", STEP]
    for ignored in (False, True):
        output = tmp_path / f"said-{ignored}"
        start = ["env", "--ignore-signal=HUP" if ignored else "--default-signal=HUP"]
        step = subprocess.Popen(
            [*start, *program, str(output)],
            env=os.environ | {"PYTHONPATH": str(WORKFLOW)},
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(output, "begun")
        step.send_signal(signal.SIGHUP)
        if ignored:
            with pytest.raises(subprocess.TimeoutExpired):
                step.wait(1)
            step.terminate()
        assert step.communicate(timeout=20)[1] == "interrupted\n"
        assert step.returncode == 130
        assert output.read_text() == "ended"


def test_variables_of_other_launchers_mean_nothing(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes.speaks_for_all() and not processes.started_by_torchrun()
    monkeypatch.setenv("PET_NNODES", "2")
    started = processes.torchrun_environment()
    assert "PET_NNODES" not in started and started["PYTHONSAFEPATH"] == "1"
    assert started["PYTHONPATH"].split(os.pathsep)[0] == str(WORKFLOW)
    monkeypatch.setattr(os, "environ", started)
    assert processes.started_by_torchrun() and not processes.speaks_for_all()


@pytest.mark.parametrize(
    ("torchrun", "status", "cleans_up"), [("1", 1, False), ("1", 0, True), (None, 1, True)]
)
def test_one_of_several_processes_with_a_fault_ends_at_once(torchrun, status, cleans_up):
    """NCCL would wait for the others, which wait for this one."""
    program = "import atexit, sys; from renal.cluster.processes import end; "
    program += f"atexit.register(print, 'cleans up'); end({status})"
    ours = {"PYTHONPATH": str(WORKFLOW), "RANK": "0"}
    ours |= {processes.TORCHRUN: torchrun} if torchrun else {}
    run = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | ours, capture_output=True, check=False
    )
    assert run.returncode == status
    assert bool(run.stdout) == cleans_up


@pytest.mark.parametrize(("safe", "level"), [("1", "2"), ("", "")])
def test_a_step_works_beside_a_module_of_a_library_s_name(tmp_path, safe, level):
    """As the rules start it, without docstrings and asserts, too; and by hand."""
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong module')\n")
    arguments = ["phantom", "--labelled", "1", "--unlabelled", "0", "--seed", "0", "--size", "32"]
    ours = {"PYTHONPATH": str(WORKFLOW), "PYTHONSAFEPATH": safe, "PYTHONOPTIMIZE": level}
    run = subprocess.run(
        [sys.executable, "-m", "renal", *arguments, "--output", "data"],
        cwd=tmp_path,
        env=os.environ | ours | {"RANK": "1", "WORLD_SIZE": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "data/case_00000/imaging.nii.gz").exists()


def test_the_rules_start_every_step_so():
    rules = (WORKFLOW.parent / "rules/common.smk").read_text()
    assert "export PYTHONSAFEPATH=1 RENAL_PARENT=$PPID; " in rules
