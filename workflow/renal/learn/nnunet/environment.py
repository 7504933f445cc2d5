"""nnU-Net's own environment, in which its Python is started for what it does."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from renal.cluster.processes import PARENT
from renal.errors import InputError, Stopped
from renal.files import read_json
from renal.handover.case_files import read_files
from renal.learn.nnunet.driver import REFUSED, SAID, STOPPED
from renal.learn.nnunet.layout import VERSION

log = logging.getLogger("renal")

PACKAGE = Path(__file__).parents[3]
REMEDY = "make it with `make nnunet`, or name its python under nnunet.python in config.yaml"
ASKED = "from importlib.metadata import version; print(version('nnunetv2'))"


def check_environment(python: Path) -> None:
    """Raise an InputError unless a Python has nnU-Net in the version that this is written for."""
    command = [str(python), "-c", ASKED]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, env=_clean())
    except OSError as error:
        raise InputError(
            f"{python}: no environment with nnU-Net ({error.strerror}): {REMEDY}"
        ) from error
    if asked.returncode:
        raise InputError(f"{python}: nnU-Net is not installed there: {REMEDY}")
    if (found := asked.stdout.strip()) != VERSION:
        raise InputError(f"{python}: nnU-Net {found}, but {VERSION} is needed: {REMEDY}")


@contextlib.contextmanager
def linked_images(files: Path, dataset: Path) -> Iterator[Path]:
    """A folder of links, for a while, in which nnU-Net finds the images of a data set.

    Parameters
    ----------
    files : Path
        The list of where the files of each case lie.
    dataset : Path
        The folder that `write_nnunet_dataset` wrote.
    """
    named = read_json(dataset / "dataset.json")["dataset"]
    with TemporaryDirectory() as folder:
        for case, (image, _) in read_files(files, named).items():
            (link,) = named[case]["images"]
            Path(folder, Path(link).name).symlink_to(image.absolute())
        yield Path(folder)


def run(
    python: Path,
    function: str,
    arguments: dict[str, Any],
    threads: int,
    log_file: Path | None,
    variables: dict[str, Path],
) -> None:
    """Run a function of this package in nnU-Net's environment, and end with it.

    What nnU-Net prints goes to the log file, or to the terminal where there is none; what our own
    function says, to both.

    Parameters
    ----------
    python : Path
        Of the environment.
    function : str
        Module and name, such as ``training.train``.
    arguments : dict
        What it is called with; paths are given as text.
    threads : int
        Cores that it may use.
    log_file : Path or None
        The step's.
    variables : dict
        Folders that nnU-Net reads from the environment.

    Raises
    ------
    InputError
        If the environment is missing or of another version, or with the last that nnU-Net said.
    Stopped
        If a training stopped by itself.
    """
    check_environment(python)
    command = [
        str(python),
        "-m",
        "renal.learn.nnunet.driver",
        function,
        json.dumps(arguments, default=str),
    ]
    ours = {
        "PYTHONPATH": str(PACKAGE),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        PARENT: str(os.getpid()),
        "OMP_NUM_THREADS": "1",  # of each process that feeds the network
        "nnUNet_def_n_proc": str(threads),
        "nnUNet_n_proc_DA": str(max(1, threads - 1)),
    }
    folders = {name: str(folder.absolute()) for name, folder in variables.items()}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_clean() | ours | folders,
        start_new_session=True,
    ) as process:
        # Processes that it started hold its output open: they go as soon as it has ended.
        threading.Thread(target=_end_group, args=(process, True), daemon=True).start()
        try:
            last = _listen(process, log_file)
        finally:
            _end_group(process)
    if process.returncode == STOPPED:
        raise Stopped(last)
    if process.returncode == REFUSED:
        raise InputError(last)
    if process.returncode:
        killed = "it was killed, mostly for want of memory"
        where = f"see {log_file}" if log_file else "see above"
        raise InputError(
            f"nnU-Net ended with an error ({where}): {last if process.returncode > 0 else killed}"
        )


def _end_group(process: "subprocess.Popen[str]", once_it_ended: bool = False) -> None:
    """Kill a process and all that it started, at once or when it has ended by itself."""
    if once_it_ended:
        process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _listen(process: "subprocess.Popen[str]", log_file: Path | None) -> str:
    """Pass on what a process says until it ends; the last that it said."""
    last = ""
    with open(log_file, "a", encoding="utf-8") if log_file else contextlib.nullcontext() as stream:
        for line in process.stdout or ():
            said = line.startswith(SAID)
            if text := line.removeprefix(SAID).strip():
                last = text
            if said:
                log.info("%s", last)
            else:
                print(line, end="", file=stream or sys.stderr, flush=True)
    process.wait()
    return last


def _clean() -> dict[str, str]:
    """The environment without what would lead nnU-Net, or its Python, elsewhere."""
    kept = {"nnUNet_compile"}
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("nnUNet_", "PYTHON")) or name in kept
    }
