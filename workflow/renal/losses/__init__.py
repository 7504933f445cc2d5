"""Loss functions, one module each: a recipe's ``loss.name`` is the name of a module here.

Its function `loss` takes logits and a target, (batch, 1, z, y, x) float with the target in 0..1,
and the other keys of the recipe's section.
"""

import importlib
from typing import Any

from torch import Tensor


def training_loss(outputs: tuple[Tensor, ...], target: Tensor, settings: Any) -> Tensor:
    """Mean of the recipe's loss over a network's outputs (Hao 2019, equation 6)."""
    loss = importlib.import_module(f"renal.losses.{settings.name}").loss
    keywords = settings.model_dump(exclude={"name"})
    losses = [loss(output, target, **keywords) for output in outputs]
    return sum(losses) / len(losses)
