"""The networks of the papers, one module each.

A recipe's ``network.name`` is the name of a module here whose class `Network` it builds. There is
no table of them, because a table would be code that every training depends on, and a new line in
it would train every model again.
"""

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from renal.learn.targets import channels_of

if TYPE_CHECKING:
    from torch import nn

    from renal.learn.settings import Target


class MakesNetwork(Protocol):
    """What a module here provides as `Network`: a class of torch modules.

    Their forward pass takes images (batch, 1, z, y, x) float and gives a tuple of logits (batch,
    channels, z, y, x), the final one last. A network for slices takes (batch, 1, channels_in, y,
    x), a slice and its neighbours, which are its channels, and gives one slice; a classifier of
    slices gives one voxel.
    """

    def __call__(self, channels_in: int, channels_out: int, **keywords: Any) -> "nn.Module":
        """A network with fresh weights, from the other keys of the recipe's section."""


def build_network(settings: Any, channels_in: int, target: "Target") -> "nn.Module":
    """The network that a recipe's `network` section describes, with fresh weights.

    Parameters
    ----------
    settings : NetworkSettings
        The recipe's section.
    channels_in : int
        1 for volumes; for networks on slices a slice and its neighbours.
    target : Target
        What it learns, which decides how many channels it gives.
    """
    module = importlib.import_module(f"renal.learn.networks.{settings.name}")
    network: MakesNetwork = module.Network
    return network(channels_in, len(channels_of(target)), **settings.keywords)
