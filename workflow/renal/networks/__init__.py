"""The networks of the papers, one module each.

A recipe's ``network.name`` is the name of a module here whose class `Network` it builds. There is
no table of them, because a table would be code that every training depends on, and a new line in
it would train every model again.
"""

import importlib
from typing import TYPE_CHECKING, Any

from renal.targets import channels_of

if TYPE_CHECKING:
    from torch import nn

    from renal.recipe import Target


def build_network(settings: Any, channels_in: int, target: "Target") -> "nn.Module":
    """The network that a recipe's `network` section describes, with fresh weights.

    Parameters
    ----------
    settings : BaseModel
        The recipe's section.
    channels_in : int
        1 for volumes, (batch, 1, z, y, x). A network for slices takes (batch, 1, channels_in, y,
        x): a slice and its neighbours, which are its channels.
    target : Target
        What it learns, which decides how many channels it gives.

    Returns
    -------
    torch.nn.Module
        Its forward pass gives a tuple of logits (batch, channels, z, y, x), the final one last;
        networks for slices give one slice, and classifiers of slices one voxel.
    """
    module = importlib.import_module(f"renal.networks.{settings.name}")
    keywords = settings.model_dump(exclude={"name", "pretrained"})
    return module.Network(channels_in, len(channels_of(target)), **keywords)
