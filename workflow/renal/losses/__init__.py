"""Loss functions, one module each: a recipe's ``loss.name`` is the name of a module here.

Its function `loss` takes logits and a target, (batch, channels, z, y, x) float with the target in
0..1, and the other keys of the recipe's section.
"""

import importlib
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from renal.recipe import DecayingSupervision, Training


def training_loss(
    outputs: tuple[Tensor, ...], target: Tensor, settings: "Training", epoch: int
) -> Tensor:
    """The recipe's loss over all of a network's outputs, of which the last is the final one.

    Their mean (Hao 2019, equation 6), or with `supervision` a sum in which the others count less
    and less as epochs pass.
    """
    loss = importlib.import_module(f"renal.losses.{settings.loss.name}").loss
    keywords = settings.loss.model_dump(exclude={"name"})
    losses = [loss(output, target, **keywords) for output in outputs]
    if settings.supervision is None:
        return sum(losses) / len(losses)
    return weight_of(settings.supervision, epoch) * sum(losses[:-1]) + losses[-1]


def weight_of(settings: "DecayingSupervision", epoch: int) -> float:
    """What outputs before the last one count in an epoch, the first of which is 0."""
    return settings.weight * settings.factor ** (epoch // settings.epochs)
