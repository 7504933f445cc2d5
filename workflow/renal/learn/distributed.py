"""One training on several GPUs: as many processes share every batch.

All processes hold the same network, draw the same batches and see the outputs and the loss of the
whole batch, so that losses over a batch, curves and all decisions are those of a single process.
"""

import torch
from torch import Tensor, distributed, nn
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
        network = self.replica if torch.is_grad_enabled() else self.network
        shares = shares_of(len(images), processes())
        if all(shares):
            images = images.split(shares)[rank()]
        else:
            # Too few for all: each computes them all, as no process may stand aside, and those of
            # the first count. Others may be rounded otherwise, and all must decide alike.
            shares = [len(images), *[0] * (processes() - 1)]
        outputs: Outputs = network(images)
        return tuple(_gathered(output, shares) for output in outputs)


def shares_of(count: int, processes: int) -> list[int]:
    """How many of `count` images each process computes; they differ by one at most.

    None is repeated, which would count twice in the statistics of batch normalisation.
    """
    return [count // processes + (number < count % processes) for number in range(processes)]


def _gathered(output: Tensor, shares: list[int]) -> Tensor:
    """The outputs of all processes in order; what is gathered must be of one shape.

    All have the same loss of them, of which each knows the gradient of its own part. The mean over
    processes, which follows, must be their sum.
    """
    missing = max(shares) - len(output)
    padded = torch.cat([output, output.new_zeros(missing, *output.shape[1:])]).contiguous()
    parts = [torch.empty_like(padded) for _ in shares]
    distributed.all_gather(parts, padded.detach())
    if padded.requires_grad:
        padded.register_hook(lambda gradient: gradient * len(shares))
    parts[rank()] = padded
    return torch.cat([part[:share] for part, share in zip(parts, shares, strict=True)])
