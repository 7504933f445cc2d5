"""Which GPUs a step may use: those that SLURM gave its job, else some that no other step uses."""

import fcntl
import logging
import os
import stat
import tempfile
import time
from pathlib import Path

from renal.errors import InputError

log = logging.getLogger(__name__)

SECONDS_BETWEEN_TRIES = 0.5
# Open files that hold the locks of this process's GPUs for as long as it lives.
_held: list[int] = []


def visible_gpus() -> list[str]:
    """GPUs of this machine, by the names that CUDA_VISIBLE_DEVICES gives them.

    Found without torch, whose import would cost every planning a second.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip()]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def claim_gpus(count: int = 1) -> int:
    """Make `count` GPUs the only ones that this process sees, and keep other steps off them.

    Waits until so many are free; takes all there are where that is fewer. Must be called before
    CUDA is used. A machine without a GPU, and a SLURM job, which has its own, are left as they are.

    Parameters
    ----------
    count : int
        How many GPUs the step uses.

    Returns
    -------
    int
        How many it has.
    """
    names = visible_gpus()
    if names and "SLURM_JOB_ID" not in os.environ:
        names = _wait_for(names, min(count, len(names)))
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
    if names:
        log.info("GPU %s", ", ".join(names))
    return len(names)


def _wait_for(names: list[str], count: int) -> list[str]:
    """Lock `count` of the GPUs: all at once, so that two waiting steps cannot block each other."""
    while True:
        taken: dict[str, int] = {}
        for name in names:
            lock = _locked(name) if len(taken) < count else None
            if lock is not None:
                taken[name] = lock
        if len(taken) == count:
            _held.extend(taken.values())
            return list(taken)
        for lock in taken.values():
            os.close(lock)
        time.sleep(SECONDS_BETWEEN_TRIES)


def _locked(name: str) -> int | None:
    """The GPU's lock file, open and locked; None while another process has it."""
    folder = _own_folder()
    file = f"gpu-{name.replace('/', '-')}.lock"
    try:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    finally:
        os.close(folder)
    os.set_inheritable(lock, True)  # kept where the process becomes torchrun's
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _own_folder() -> int:
    """A folder among the temporary ones, open, in which nobody else can have put a link.

    Raises
    ------
    InputError
        If what has its name is no folder, or is open to others.
    """
    path = Path(tempfile.gettempdir()) / f"renal-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be used for the locks of GPUs ({error.strerror}): take it away, or "
            "set TMPDIR"
        ) from error
    status = os.fstat(folder)
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        os.close(folder)
        raise InputError(
            f"{path}: for the locks of GPUs, but open to others: take it away, or set TMPDIR"
        )
    return folder
