"""Focal loss plus Dice weighted by class, for tumours that are small and easily mistaken."""

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from renal.learn.losses.dice import soft_dice

if TYPE_CHECKING:
    from renal.learn.losses import Truth


def loss(
    logits: Tensor, truth: "Truth", *, gamma: float, tumour_weight: float, focal_share: float
) -> Tensor:
    """Weighted sum of a focal loss and a weighted Dice loss.

    With p the sigmoid of the logits, g the target and w the tumour's weight against the
    background's 1::

        focal = mean(-w * g * (1 - p)^gamma * log(p) - (1 - g) * p^gamma * log(1 - p))
        dice = (w * D(p, g) + D(1 - p, 1 - g)) / (w + 1)
        loss = focal_share * focal + (1 - focal_share) * dice

    where D is the soft Dice loss of a case. The background's part still counts false positives
    where a slice holds no tumour, and the tumour's own Dice loss is 1 for any prediction.

    Parameters
    ----------
    logits : torch.Tensor
        (batch, channels, z, y, x) float; each channel is tumour against background.
    truth : Truth
        Its target, of the same shape.
    gamma : float
        How much less a voxel counts the surer its prediction is (Lin 2017); with 0 the focal
        loss is weighted cross-entropy.
    tumour_weight : float
        The weight w of the tumour in both losses.
    focal_share : float
        Share of the focal loss in the sum.
    """
    logits, target = logits.float(), truth.target
    # Logarithms of p and 1 - p that stay finite, with their gradients, where p rounds to 0 or 1.
    log_tumour, log_background = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    focal_tumour = -(gamma * log_background).exp() * log_tumour
    focal_background = -(gamma * log_tumour).exp() * log_background
    focal = (tumour_weight * target * focal_tumour + (1 - target) * focal_background).mean()

    tumour = soft_dice(logits.sigmoid(), target, squared=False)
    background = soft_dice((-logits).sigmoid(), 1 - target, squared=False)
    weighted = ((tumour_weight * tumour + background) / (tumour_weight + 1)).mean()
    return focal_share * focal + (1 - focal_share) * weighted
