"""Which processes belong together: a step and the run it works for, a training and its torchrun.

Only variables that this workflow sets count. RANK, WORLD_SIZE and their like may be left over in an
environment from anything.
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

# The process that a step ends with: set by the rules to the Snakemake that runs the job, on a
# cluster to the one within the job, and by a training that becomes torchrun to itself.
PARENT = "RENAL_PARENT"
TORCHRUN = "RENAL_TORCHRUN"
SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
SECONDS_FOR_THE_FIRST = 2.0


def torchrun_environment() -> dict[str, str]:
    """The environment of processes that this one starts by becoming torchrun.

    They find this package where this process found it, and no module of the working folder;
    torchrun takes no options from variables that something else left.
    """
    package = str(Path(__file__).parents[2])
    ours = {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        TORCHRUN: "1",
        PARENT: str(os.getpid()),
    }
    # torchrun reads its options from PET_NNODES and the like, too.
    return {name: v for name, v in os.environ.items() if not name.startswith("PET_")} | ours


def started_by_torchrun() -> bool:
    """Whether this is one of the processes of `torchrun_environment`."""
    return TORCHRUN in os.environ


def speaks_for_all() -> bool:
    """Whether this process is the only one of its step, or the first."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"


def end_with_parent() -> None:
    """Have this process get SIGTERM as soon as the one that started it is gone, however it ended.

    A step that was not started by a rule outlives its parent, as any program does.
    """
    parent = os.environ.get(PARENT)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if not Path("/proc", parent).exists():  # it ended before it was watched
        os.kill(os.getpid(), signal.SIGTERM)


def end_orderly() -> None:
    """Take the signals that end a process for an interruption, which cleans up what it leaves.

    SIGHUP comes from a terminal that is closed; where it is ignored, as below nohup, it stays so.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def end(status: int) -> NoReturn:
    """End this process; one of several with a fault at once, as libraries would wait for the rest.

    The first one, which tells what all have met, comes before the others: torchrun ends it, too.
    """
    if status and started_by_torchrun():
        if not speaks_for_all():
            time.sleep(SECONDS_FOR_THE_FIRST)
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)
