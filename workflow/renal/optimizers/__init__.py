"""Optimisers, one module each: a recipe's ``optimizer.name`` is the name of a module here.

Its function `optimizer` takes a network and the other keys of the recipe's section.
"""

import importlib
from typing import Any

import torch


def build_optimizer(network: torch.nn.Module, settings: Any) -> torch.optim.Optimizer:
    """The optimiser that a recipe's `optimizer` section describes."""
    module = importlib.import_module(f"renal.optimizers.{settings.name}")
    return module.optimizer(network, **settings.model_dump(exclude={"name"}))
