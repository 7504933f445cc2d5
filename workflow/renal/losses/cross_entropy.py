"""Binary cross-entropy."""

from torch import Tensor
from torch.nn import functional


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over voxels, channels and batch.

    Parameters
    ----------
    logits, target : torch.Tensor
        (batch, channels, z, y, x) float. The prediction is the sigmoid of the logits.
    """
    return functional.binary_cross_entropy_with_logits(logits.float(), target)
