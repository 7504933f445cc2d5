"""Optimisers, one module each: a recipe's ``optimizer.name`` is the name of a module here.

Its function `optimizer` takes a network and the other keys of the recipe's section.
"""

import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import nn, optim


class MakesOptimizer(Protocol):
    """What a module here provides as `optimizer`."""

    def __call__(self, network: "nn.Module", **keywords: Any) -> "optim.Optimizer":
        """An optimiser of all parameters of a network."""


def build_optimizer(network: "nn.Module", settings: Any) -> "optim.Optimizer":
    """The optimiser that a recipe's `optimizer` section describes."""
    module = importlib.import_module(f"renal.learn.optimizers.{settings.name}")
    optimizer: MakesOptimizer = module.optimizer
    return optimizer(network, **settings.model_dump(exclude={"name"}))
