"""Soft Dice."""

from typing import TYPE_CHECKING, Literal

from torch import Tensor

if TYPE_CHECKING:
    from renal.learn.losses import Truth

SMOOTH = (1e-5, 1e-5)  # keeps the ratio defined where neither prediction nor target has a voxel


def loss(
    logits: Tensor,
    truth: "Truth",
    *,
    squared: bool,
    smooth: tuple[float, float] = SMOOTH,
    channels: Literal["mean", "sum"] = "mean",
    over: Literal["example", "batch"] = "example",
) -> Tensor:
    """Soft Dice loss of each channel, averaged over the batch.

    Parameters
    ----------
    logits : torch.Tensor
        (batch, channels, z, y, x) float. The prediction is their sigmoid.
    truth : Truth
        Its target, of the same shape.
    squared : bool
        Square prediction and target in the denominator (Hao 2019, equation 5; Milletari 2016).
    smooth : tuple of float
        What is added to the numerator and to the denominator.
    channels : {"mean", "sum"}
        Average the channels, or add them up (Vu 2019, equation 1).
    over : {"example", "batch"}
        Dice of each example, or one of all voxels of the batch: an example without a target has no
        gradient of its own.
    """
    prediction, target = joined(logits.float().sigmoid(), over), joined(truth.target, over)
    losses = soft_dice(prediction, target, squared=squared, smooth=smooth)
    return (losses.mean(1) if channels == "mean" else losses.sum(1)).mean()


def joined(values: Tensor, over: Literal["example", "batch"]) -> Tensor:
    """(batch, channels, ...), or (1, channels, voxels) of the whole batch."""
    return values if over == "example" else values.transpose(0, 1).flatten(1)[None]


def soft_dice(
    prediction: Tensor, target: Tensor, *, squared: bool, smooth: tuple[float, float] = SMOOTH
) -> Tensor:
    """Soft Dice loss, 1 - 2 * sum(P * G) / (sum(P) + sum(G)), of each channel of each case.

    Parameters
    ----------
    prediction, target : torch.Tensor
        P and G, (batch, channels, z, y, x) float32 in 0..1.
    squared : bool
        Square P and G in the denominator.
    smooth : tuple of float
        What is added to the numerator and to the denominator.

    Returns
    -------
    torch.Tensor
        (batch, channels).
    """
    axes = tuple(range(2, prediction.ndim))
    overlap = (prediction * target).sum(axes)
    if squared:
        total = prediction.square().sum(axes) + target.square().sum(axes)
    else:
        total = prediction.sum(axes) + target.sum(axes)
    above, below = smooth
    return 1 - (2 * overlap + above) / (total + below)
