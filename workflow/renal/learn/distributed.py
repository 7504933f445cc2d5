"""One training on several GPUs: as many processes, started by torchrun, share every batch.

All processes hold the same network, draw the same batches and see the outputs and the loss of the
whole batch, so that losses over a batch, curves and all decisions are those of a single process.
"""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

Outputs = tuple[Tensor, ...]


def processes() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process; number 0 writes the files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def start_processes(count: int) -> None:
    """Become `count` processes that run this program's command anew; torchrun looks after them.

    Does not return. The locks of GPUs, being open files, stay with the processes.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    # Behind the -- torchrun looks for no options of its own.
    command += [f"--nproc-per-node={count}", "-m", "--", "renal", *sys.argv[1:]]
    os.execv(sys.executable, command)


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes where torchrun started this one."""
    if "RANK" not in os.environ:
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


def agreed(flag: bool) -> bool:
    """Whether `flag` is set in any process; all must ask."""
    if processes() == 1:
        return flag
    said = torch.tensor(int(flag))
    distributed.all_reduce(said, distributed.ReduceOp.MAX)
    return bool(said)


def in_parallel(network: nn.Module) -> nn.Module:
    """`network` itself, or where there are several processes, with a share of every batch."""
    return network if processes() == 1 else SharedBatches(network)


class SharedBatches(nn.Module):
    """A network of which each process computes a share of the batch and sees all outputs.

    Gradients are those of the loss of the whole batch. On GPUs batch normalisation is over the
    whole batch, too.

    Parameters
    ----------
    network : torch.nn.Module
        On the device of this process.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        if next(network.parameters()).is_cuda:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.replica = DistributedDataParallel(network)

    def forward(self, images: Tensor) -> Outputs:
        """Outputs for (batch, 1, z, y, x) images, the same in all processes."""
        count = len(images)
        share = math.ceil(count / processes())
        # Where the batch cannot be divided, the last images are repeated, to no effect.
        first = rank() * share
        mine = images[[min(first + position, count - 1) for position in range(share)]]
        network = self.replica if torch.is_grad_enabled() else self.network
        return tuple(torch.cat(all_gather(output.contiguous()))[:count] for output in network(mine))
