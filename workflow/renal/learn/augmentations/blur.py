"""Blurring in the plane of the slices."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from renal.learn.device import on_device


def transform(
    image: Tensor, label: Tensor, *, sigma: float, probability: float
) -> tuple[Tensor, Tensor]:
    """Blur each case's slices by a Gaussian of `sigma` voxels, with `probability`.

    Beyond the edge of a slice its outermost voxels repeat. The label stays as it is.
    """
    chosen = on_device(torch.rand(len(image)) < probability, image.device)
    chosen = chosen[:, None, None, None, None]
    radius = math.ceil(4 * sigma)
    offsets = torch.arange(-radius, radius + 1)
    gaussian = (-0.5 * (offsets / sigma) ** 2).exp()
    weights: list[float] = (gaussian / gaussian.sum()).tolist()
    blurred = image.flatten(1, 2)
    for axis, padding in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        length = blurred.shape[axis]
        padded = functional.pad(blurred, padding, mode="replicate")
        # A sum of shifted slices, because a GPU's convolutions round to TensorFloat-32.
        shifted = (
            weight * padded.narrow(axis, start, length) for start, weight in enumerate(weights)
        )
        blurred = sum(shifted, start=blurred.new_zeros(()))
    return torch.where(chosen, blurred.view_as(image), image), label
