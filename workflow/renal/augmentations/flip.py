"""Mirroring."""

import torch
from torch import Tensor


def transform(image: Tensor, target: Tensor, *, probability: float) -> tuple[Tensor, Tensor]:
    """Mirror each case about one axis drawn at random (z, y or x), with `probability`."""
    chosen = torch.rand(len(image)) < probability
    axes = torch.randint(3, (len(image),))
    images, targets = list(image), list(target)
    for index in chosen.nonzero().flatten().tolist():
        axis = 1 + int(axes[index])
        images[index] = images[index].flip(axis)
        targets[index] = targets[index].flip(axis)
    return torch.stack(images), torch.stack(targets)
