"""Mirroring."""

import torch
from torch import Tensor


def transform(image: Tensor, label: Tensor, *, probability: float) -> tuple[Tensor, Tensor]:
    """Mirror each case about one axis drawn at random, with `probability`.

    Axes of a single voxel, as z of a slice, are not drawn: mirroring would change nothing.
    """
    long = [axis for axis, length in enumerate(image.shape[2:]) if length > 1]
    chosen = torch.rand(len(image)) < probability
    axes = torch.randint(len(long), (len(image),))
    images, labels = list(image), list(label)
    for index in chosen.nonzero().flatten().tolist():
        axis = 1 + long[int(axes[index])]
        images[index] = images[index].flip(axis)
        labels[index] = labels[index].flip(axis)
    return torch.stack(images), torch.stack(labels)
