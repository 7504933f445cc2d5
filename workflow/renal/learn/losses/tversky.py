"""Tversky loss: soft Dice with unequal weights for what is missed and what is too much."""

from typing import TYPE_CHECKING, Literal

from torch import Tensor

from renal.learn.losses.dice import SMOOTH, joined

if TYPE_CHECKING:
    from renal.learn.losses import Truth


def loss(
    logits: Tensor,
    truth: "Truth",
    *,
    false_negatives: float,
    false_positives: float,
    over: Literal["example", "batch"] = "example",
) -> Tensor:
    """Tversky loss, 1 - TP / (TP + a * FN + b * FP), averaged over channels and batch.

    With a = b = 0.5 it is the soft Dice loss; a > b favours recall (Salehi 2017).

    Parameters
    ----------
    logits : torch.Tensor
        (batch, channels, z, y, x) float. The prediction is their sigmoid.
    truth : Truth
        Its target, of the same shape.
    false_negatives, false_positives : float
        The weights a and b.
    over : {"example", "batch"}
        See `renal.learn.losses.dice`.
    """
    prediction, target = joined(logits.float().sigmoid(), over), joined(truth.target, over)
    axes = tuple(range(2, prediction.ndim))
    found = (prediction * target).sum(axes)
    missed = ((1 - prediction) * target).sum(axes)
    excess = (prediction * (1 - target)).sum(axes)
    above, below = SMOOTH
    total = found + false_negatives * missed + false_positives * excess
    return (1 - (found + above) / (total + below)).mean()
