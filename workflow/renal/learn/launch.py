"""Starting several processes for one training, by torchrun."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from renal.cluster.processes import started_by_torchrun, torchrun_environment


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
    """Join the other processes where torchrun started this one."""
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
    finally:
        distributed.destroy_process_group()
