"""Soft Dice plus cross-entropy."""

from typing import TYPE_CHECKING, Literal

from torch import Tensor
from torch.nn import functional

from renal.learn.losses import cross_entropy, dice

if TYPE_CHECKING:
    from renal.learn.losses import Truth


def loss(
    logits: Tensor,
    truth: "Truth",
    *,
    squared: bool,
    activation: Literal["sigmoid", "softmax"] = "sigmoid",
) -> Tensor:
    """Sum of the soft Dice loss and the cross-entropy (Qiao 2019, section 3).

    Parameters
    ----------
    logits : torch.Tensor
        (batch, channels, z, y, x) float.
    truth : Truth
        Its target, of the same shape; with softmax it is one-hot.
    squared : bool
        Square prediction and target in Dice's denominator.
    activation : {"sigmoid", "softmax"}
        Channels that may overlap, with binary cross-entropy; or exclusive classes, the first of
        them background, with categorical cross-entropy over all and Dice over the others.
    """
    if activation == "sigmoid":
        return dice.loss(logits, truth, squared=squared) + cross_entropy.loss(logits, truth)
    logits, target = logits.float(), truth.target
    overlap = dice.soft_dice(logits.softmax(1)[:, 1:], target[:, 1:], squared=squared)
    return overlap.mean() + functional.cross_entropy(logits, target)
