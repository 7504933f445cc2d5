"""Binary cross-entropy."""

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from renal.learn.losses import Truth


def loss(logits: Tensor, truth: "Truth") -> Tensor:
    """Binary cross-entropy, averaged over voxels, channels and batch.

    Parameters
    ----------
    logits : torch.Tensor
        (batch, channels, z, y, x) float. The prediction is their sigmoid.
    truth : Truth
        Its target, of the same shape.
    """
    return functional.binary_cross_entropy_with_logits(logits.float(), truth.target)
