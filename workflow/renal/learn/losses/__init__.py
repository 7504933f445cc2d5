"""Loss functions, one module each: a recipe's ``loss.name`` is the name of a module here.

Its function `loss` takes logits, a `Truth` to compare them with, and the other keys of the recipe's
section.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from renal.learn.losses.settings import DecayingSupervision
    from renal.learn.settings import Training


@dataclass(frozen=True)
class Truth:
    """All that a loss may compare logits with, of one batch, on the device.

    Attributes
    ----------
    target : torch.Tensor
        (batch, channels, z, y, x) float in 0..1: what the channels should be.
    label : torch.Tensor
        (batch, 1, z, y, x) float label map that it was made from, such as for distance maps.
    image : torch.Tensor
        (batch, 1, z, y, x) float: what the network saw.
    epoch : int
        Number of the epoch, the first of which is 0.
    """

    target: "Tensor"
    label: "Tensor"
    image: "Tensor"
    epoch: int


class Loss(Protocol):
    """What a module here provides as `loss`."""

    def __call__(self, logits: "Tensor", truth: Truth, **keywords: Any) -> "Tensor":
        """A scalar from (batch, channels, z, y, x) float logits."""


def loss_of(settings: Any) -> Loss:
    """The loss that a recipe's `loss` section names."""
    module = importlib.import_module(f"renal.learn.losses.{settings.name}")
    loss: Loss = module.loss
    return loss


def training_loss(outputs: tuple["Tensor", ...], truth: Truth, settings: "Training") -> "Tensor":
    """The recipe's loss over all of a network's outputs, of which the last is the final one.

    Their mean (Hao 2019, equation 6), or with `supervision` a sum in which the others count less
    and less as epochs pass.
    """
    loss = loss_of(settings.loss)
    keywords = settings.loss.model_dump(exclude={"name"})
    losses = [loss(output, truth, **keywords) for output in outputs]
    if settings.supervision is None:
        return sum(losses[1:], start=losses[0]) / len(losses)
    return weight_of(settings.supervision, truth.epoch) * sum(losses[:-1]) + losses[-1]


def weight_of(settings: "DecayingSupervision", epoch: int) -> float:
    """What outputs before the last one count in an epoch, the first of which is 0."""
    return settings.weight * settings.factor ** (epoch // settings.epochs)
