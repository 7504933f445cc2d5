"""What SLURM is asked: a squeue that says what a test wants stands in for the real one."""

import math
from pathlib import Path

import pytest

from renal.cluster.slurm import minutes_left, refuse_orphans, refuse_unquotable
from renal.errors import InputError


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Put a squeue before all others that prints some lines."""

    def says(text: str, status: int = 0) -> None:
        program = tmp_path / "squeue"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return says


@pytest.mark.parametrize(
    ("left", "minutes"),
    [
        ("0:30", 0.5),
        ("45:00", 45),
        ("1:00:30", 60.5),
        ("2-03:00:00", 51 * 60),
        ("UNLIMITED", math.inf),
        ("INVALID", math.inf),
        ("", math.inf),
    ],
)
def test_time_left(squeue, left, minutes):
    squeue(left)
    assert minutes_left() == minutes


def test_without_slurm_there_is_no_limit(squeue, monkeypatch):
    squeue("slurm_load_jobs error: Invalid job id specified", status=1)
    assert minutes_left() == math.inf
    monkeypatch.setenv("PATH", "/nowhere")
    assert minutes_left() == math.inf
    monkeypatch.delenv("SLURM_JOB_ID")
    assert minutes_left() == math.inf


def test_jobs_of_another_run_here_are_refused(squeue, tmp_path):
    squeue(f"12|rule_train_wildcards_a|{tmp_path}\n13|(null)|{tmp_path}\n14|rule_x|/elsewhere")
    with pytest.raises(InputError, match=r"scancel 12`"):
        refuse_orphans(tmp_path)
    squeue(f"13|(null)|{tmp_path}")
    refuse_orphans(tmp_path)


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a$b", "a`b", "a;b", "a&b", "a|b", "a\nb", "a\\b"])
def test_names_that_a_shell_would_read_are_refused(name):
    refuse_unquotable(Path("/home/Jürgen M/data-1.0"), Path("results"))
    with pytest.raises(InputError, match="letters, digits"):
        refuse_unquotable(Path("/data"), Path("/home") / name)
