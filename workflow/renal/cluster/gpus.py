"""Which GPUs a step may use: those that SLURM gave its job, else some that no other step uses."""

import fcntl
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TextIO

log = logging.getLogger(__name__)

SECONDS_BETWEEN_TRIES = 0.5
# Open files that hold the locks of this process's GPUs for as long as it lives.
_held: list[TextIO] = []


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
        taken: dict[str, TextIO] = {}
        for name in names:
            stream = _locked(name) if len(taken) < count else None
            if stream is not None:
                taken[name] = stream
        if len(taken) == count:
            _held.extend(taken.values())
            return list(taken)
        for stream in taken.values():
            stream.close()
        time.sleep(SECONDS_BETWEEN_TRIES)


def _locked(name: str) -> TextIO | None:
    """The GPU's lock file, open and locked; None while another process has it."""
    path = Path(tempfile.gettempdir()) / f"renal-{os.getuid()}-gpu-{name.replace('/', '-')}.lock"
    stream = path.open("w")
    os.set_inheritable(stream.fileno(), True)  # kept where the process becomes torchrun's
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    return stream
