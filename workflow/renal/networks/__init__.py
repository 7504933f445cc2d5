"""The networks of the papers, one module each.

A recipe's ``network.name`` is the name of a module here whose class `Network` it builds. There is
no table of them, because a table would be code that every training depends on, and a new line in
it would train every model again.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def build_network(settings: Any) -> "nn.Module":
    """The network that a recipe's `network` section describes, with fresh weights.

    Its forward pass takes (batch, 1, z, y, x) float and returns a tuple of logits of that shape,
    the final one last; the loss is averaged over the tuple.
    """
    module = importlib.import_module(f"renal.networks.{settings.name}")
    return module.Network(**settings.model_dump(exclude={"name"}))
