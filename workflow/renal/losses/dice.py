"""Soft Dice."""

from torch import Tensor

SMOOTH = 1e-5  # keeps the ratio defined where neither prediction nor target has a voxel


def loss(logits: Tensor, target: Tensor, *, squared: bool) -> Tensor:
    """Soft Dice loss, 1 - 2 * sum(P * G) / (sum(P) + sum(G)), averaged over the batch.

    Parameters
    ----------
    logits, target : torch.Tensor
        (batch, 1, z, y, x) float. P is the sigmoid of the logits.
    squared : bool
        Square P and G in the denominator (Hao 2019, equation 5; Milletari 2016).
    """
    prediction = logits.float().sigmoid()
    axes = tuple(range(1, logits.ndim))
    overlap = (prediction * target).sum(axes)
    if squared:
        total = prediction.square().sum(axes) + target.square().sum(axes)
    else:
        total = prediction.sum(axes) + target.sum(axes)
    return (1 - (2 * overlap + SMOOTH) / (total + SMOOTH)).mean()
