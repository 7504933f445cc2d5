"""Optimisers, one module each: a recipe's ``optimizer.name`` is the name of a module here.

Its function `optimizer` takes a network's parameters and the other keys of the recipe's section.
"""

import importlib
from collections.abc import Iterable
from typing import Any

import torch


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter], settings: Any
) -> torch.optim.Optimizer:
    """The optimiser that a recipe's `optimizer` section describes."""
    module = importlib.import_module(f"renal.optimizers.{settings.name}")
    return module.optimizer(parameters, **settings.model_dump(exclude={"name"}))
