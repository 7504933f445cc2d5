"""What is around a training: its processes, its folder's lock, and the signal to stop."""

import errno
import fcntl
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed

from renal.cluster.processes import started_by_torchrun, torchrun_environment
from renal.errors import InputError, Stopped
from renal.learn.distributed import rank

log = logging.getLogger(__name__)

SECONDS_BEFORE_THE_LIMIT = 120.0
SECONDS_TO_END_AN_EPOCH = 10.0
# What file systems say that were mounted without locks, as some clusters' are.
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


def start_processes(count: int) -> None:
    """Become `count` processes that run this program's command anew; torchrun looks after them.

    Does not return. The locks of GPUs, being open files, stay with the processes.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    # Behind the -- torchrun looks for no options of its own.
    command += [f"--nproc-per-node={count}", "-m", "--", "renal", *sys.argv[1:]]
    os.execve(sys.executable, command, torchrun_environment())


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes where torchrun started this one.

    They are left together. A process with a fault does not wait for the others, which wait for it:
    it ends, and torchrun ends them.
    """
    if not started_by_torchrun():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("cpu:gloo,cuda:nccl")
    else:
        distributed.init_process_group("gloo")
    try:
        yield
    except Stopped:  # as all have agreed to
        distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()


@contextmanager
def only_writer(output: Path) -> Iterator[None]:
    """Refuse to train where another training does: both would write the same state.

    Raises
    ------
    InputError
        If there is one.
    """
    if rank() > 0:
        yield  # the first of the processes writes
        return
    output.mkdir(parents=True, exist_ok=True)
    with (output / "state.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{output}: another process is training here: wait for it, or stop it"
            ) from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            log.warning("%s: locks are not known here: start no second run beside this", output)
        yield


@dataclass
class StopFlag:
    """When the run has to stop, in seconds of the monotonic clock."""

    since: float = math.inf

    @property
    def is_set(self) -> bool:
        return time.monotonic() >= self.since

    @property
    def is_overdue(self) -> bool:
        """Whether the epoch has had its time to end: schedulers kill after some 30 seconds."""
        return time.monotonic() > self.since + SECONDS_TO_END_AN_EPOCH


@contextmanager
def stop_signal(minutes: float = math.inf) -> Iterator[StopFlag]:
    """A flag that a signal sets, or time that runs out, so that the state can be stored first."""
    flag = StopFlag(time.monotonic() + 60 * minutes - SECONDS_BEFORE_THE_LIMIT)

    def set_flag(*_: object) -> None:
        flag.since = min(flag.since, time.monotonic())

    ending = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    numbers = [n for n in ending if signal.getsignal(n) is not signal.SIG_IGN]  # as below nohup
    previous = [signal.signal(number, set_flag) for number in numbers]
    try:
        yield flag
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
