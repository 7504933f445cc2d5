"""What SLURM knows of the workflow's jobs."""

import math
import os
import re
import subprocess
from pathlib import Path

from renal.errors import InputError


def refuse_orphans(folder: Path) -> None:
    """Stop where jobs of another run of the workflow in `folder` are still queued or running.

    Snakemake does not take up the jobs of a run that was killed: it would submit them again, and
    two jobs would write the same files. While `folder` is locked Snakemake itself refuses, and says
    what comes first.

    Raises
    ------
    InputError
        With the command that cancels them.
    """
    if any((folder / ".snakemake/locks").glob("*")):
        return
    # The executor gives each job a comment that begins with rule_, and its run's working folder.
    rows = (line.split("|", 2) for line in _squeue("--me", "--format=%i|%k|%Z"))
    orphans = [
        job for job, comment, where in rows if comment.startswith("rule_") and where == str(folder)
    ]
    if orphans:
        raise InputError(
            f"jobs of another run in {folder} are still there: wait for them, or if that run is "
            f"dead, cancel them with `scancel {' '.join(orphans)}`; then run again"
        )


def refuse_unquotable(*folders: Path) -> None:
    """Stop where a folder's name means something to a shell.

    Snakemake 9.27 quotes the paths in the commands of its jobs on a cluster as Python does, not as
    a shell does, so that parts of such a name would be run as commands.

    Raises
    ------
    InputError
        With the folder.
    """
    for folder in folders:
        if not re.fullmatch(r"[\w/.,:=@+ -]*", str(folder)):
            raise InputError(
                f"{folder}: on a cluster Snakemake hands this name to a shell, which would take "
                "parts of it for commands: use letters, digits, spaces and .,:=@+-_ in names"
            )


def minutes_left() -> float:
    """Minutes until SLURM ends the job that this process belongs to; infinite outside of a job.

    Asked of SLURM and not taken from the rule, because a profile may lower what the rule asks for,
    and much time may pass between the start of the job and that of its step.
    """
    job = os.environ.get("SLURM_JOB_ID")
    left = _squeue(f"--jobs={job}", "--format=%L") if job else []
    # [[days-]hours:]minutes:seconds, or UNLIMITED
    parts = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", left[0]) if left else None
    if parts is None:
        return math.inf
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return days * 1440 + hours * 60 + minutes + seconds / 60


def _squeue(*options: str) -> list[str]:
    """Lines of squeue on jobs that have not ended; none where there is no SLURM."""
    states = "--states=PENDING,RUNNING,SUSPENDED,COMPLETING"
    command = ["squeue", "--noheader", states, *options]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.stdout.splitlines()]
