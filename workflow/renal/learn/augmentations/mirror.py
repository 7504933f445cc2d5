"""Mirroring about several axes at once."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from renal.learn.device import on_device

AXES = {"z": -3, "y": -2, "x": -1}


def transform(
    image: Tensor,
    label: Tensor,
    *,
    axes: Sequence[Literal["z", "y", "x"]],
    probability: float,
) -> tuple[Tensor, Tensor]:
    """Mirror each case about all `axes` at once, with `probability`.

    With y and x this is the point symmetry of the slices, a turn by 180 degrees.
    """
    dimensions = [AXES[axis] for axis in axes]
    chosen = on_device(torch.rand(len(image)) < probability, image.device)
    chosen = chosen[:, None, None, None, None]
    return (
        torch.where(chosen, image.flip(dimensions), image),
        torch.where(chosen, label.flip(dimensions), label),
    )
