"""One training on several GPUs: as many processes share every batch.

All processes hold the same network, draw the same batches and see the outputs and the loss of the
whole batch, so that losses over a batch, curves and all decisions are those of a single process.
"""

import math

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
