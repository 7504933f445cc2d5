"""What a machine has of what a run needs, and what to do about each lack."""

import fcntl
import importlib.util
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from renal.cluster.gpus import DEVICES, refuse_unusable, visible_gpus
from renal.errors import InputError
from renal.sources import version

OPEN_FILES = 1024
FREE_GB = 20
# In 3.12.1 the garbage collector ends trainings with a segmentation fault.
FIRST_PYTHON, LAST_PYTHON, BROKEN_PYTHON = (3, 11), (3, 13), (3, 12, 1)
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes
    ----------
    what : str
        What was looked at.
    found : str
        What is there.
    remedy : str
        What to do; empty where all is well.
    """

    what: str
    found: str
    remedy: str = ""


def examine(results: Path) -> list[Finding]:
    """Look at everything a run needs of a machine.

    Parameters
    ----------
    results : Path
        Folder of results, whose file system is looked at; it need not exist.
    """
    place = Path(os.path.realpath(results))
    there = next(path for path in (place, *place.parents) if path.exists())
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _program,
        _python,
        _torch,
        _gpus,
        _slurm,
        _processor,
        lambda: _disk(there),
        lambda: _locks(there),
        _open_files,
    )
    return [finding for look in looks for finding in look()]


def described(findings: list[Finding]) -> str:
    """The findings, a line for each and one for each remedy."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{'!' if finding.remedy else ' '} {finding.what:<{width}}  {finding.found}")
        if finding.remedy:
            lines.append(f"  {'':<{width}}  -> {finding.remedy}")
    return "\n".join(lines)


def _program() -> Iterator[Finding]:
    yield Finding("renal", version())


def _python() -> Iterator[Finding]:
    remedy = ""
    if sys.version_info[:3] == BROKEN_PYTHON:
        remedy = "trainings end in a segmentation fault of Python 3.12.1: take another version"
    elif not FIRST_PYTHON <= sys.version_info[:2] <= LAST_PYTHON:
        remedy = "tried with Python 3.11 and 3.13 alone: take one of them"
    yield Finding("Python", f"{platform.python_version()}, {platform.platform()}", remedy)


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", f"cannot be imported: {error}", "pip install torch==2.13.0")
        return
    build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU alone"
    yield Finding("torch", f"{torch.__version__}, {build}")


def _gpus() -> Iterator[Finding]:
    if DRIVER.exists():
        yield Finding("driver", DRIVER.read_text(encoding="utf-8").partition("\n")[0].strip())
    there = sorted(path.name for path in DEVICES.glob("nvidia[0-9]*"))
    try:
        visible = visible_gpus()
        if not visible:
            if there:
                told = f"{len(there)} here, hidden by CUDA_VISIBLE_DEVICES"
                yield Finding("GPUs", told, "unset CUDA_VISIBLE_DEVICES to use them")
            else:
                yield Finding("GPUs", "none: networks run on the CPU")
            return
        refuse_unusable()
        import torch

        for number, name in enumerate(visible):
            properties = torch.cuda.get_device_properties(number)
            memory = properties.total_memory / 2**30
            kind = "bfloat16" if torch.cuda.is_bf16_supported(False) else "no bfloat16"
            yield Finding(f"GPU {name}", f"{properties.name}, {memory:.0f} GiB, {kind}")
    except InputError as error:
        found, _, remedy = str(error).rpartition(": ")
        yield Finding("GPUs", found, remedy)


def _slurm() -> Iterator[Finding]:
    if shutil.which("sbatch") is None:
        yield Finding("SLURM", "none on this machine: `--profile slurm` needs a login node")
        return
    asked = subprocess.run(
        ["sinfo", "--noheader", "--format=%P %a %l %G"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        told = " ".join(asked.stderr.split()) or f"sinfo ended with {asked.returncode}"
        yield Finding("SLURM", told, "ask who runs the cluster whether its controller is up")
    elif importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        yield Finding(
            "SLURM", "Snakemake cannot use it", "pip install snakemake-executor-plugin-slurm"
        )
    for line in sorted(set(asked.stdout.splitlines())):
        partition, state, limit, *generic = line.split()
        yield Finding("SLURM", f"{partition} {state}, at most {limit}, {' '.join(generic)}")


def _processor() -> Iterator[Finding]:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    remedy = "" if gigabytes >= 8 else "lower compute.prepare_threads: each takes up to 1.6 GB"
    yield Finding("machine", f"{cores} cores, {gigabytes:.0f} GiB", remedy)


def _disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free / 2**30
    told = f"{free:.0f} GiB free for results ({folder})"
    remedy = (
        "" if free >= FREE_GB else "a run stops where it is full: name another `results` folder"
    )
    yield Finding("disk", told, remedy)


def _locks(folder: Path) -> Iterator[Finding]:
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except PermissionError:
        remedy = "name a `results` folder in which you may write"
        yield Finding("locks", f"{folder}: not to be written", remedy)
    except OSError as error:
        remedy = "name a `results` folder on a file system with locks (Lustre: mount with flock)"
        yield Finding("locks", f"{folder}: {error.strerror}", remedy)
    else:
        yield Finding("locks", f"files in {folder} can be locked")


def _open_files() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    remedy = "" if soft >= OPEN_FILES else f"ulimit -n {OPEN_FILES}"
    if 0 <= hard < OPEN_FILES:
        remedy = f"have the hard limit of {hard} raised, as /etc/security/limits.conf has it"
    yield Finding("open files", f"at most {soft}", remedy)
