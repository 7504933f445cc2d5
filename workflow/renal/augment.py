"""Augmentation of a training batch, on the device that holds it.

Every transform takes and returns images (batch, 1, z, y, x) float and targets of the same shape;
it draws what it needs from torch's global generator, which the training loop seeds every epoch.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def rotation(image: Tensor, target: Tensor, *, degrees: float) -> tuple[Tensor, Tensor]:
    """Rotate each case in the plane of its slices by an angle drawn from +-`degrees`.

    Bilinear for images, nearest for targets. Voxels from outside take the nearest edge value of
    the image and are background in the target.
    """
    angles = (torch.rand(len(image)) * 2 - 1) * math.radians(degrees)
    rows, columns = image.shape[-2:]
    cosines, sines, zeros = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # grid_sample's coordinates run from -1 to 1 on both axes, whatever their lengths.
    matrices = torch.stack(
        [
            torch.stack([cosines, -sines * (rows / columns), zeros], dim=1),
            torch.stack([sines * (columns / rows), cosines, zeros], dim=1),
        ],
        dim=1,
    ).to(image)
    # Slices serve as channels: all of a case turn by the same angle.
    flat_image, flat_target = image.flatten(1, 2), target.flatten(1, 2)
    grid = functional.affine_grid(matrices, list(flat_image.shape), align_corners=False)
    turned_image = functional.grid_sample(
        flat_image, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    turned_target = functional.grid_sample(
        flat_target, grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return turned_image.view_as(image), turned_target.view_as(target)


def flip(image: Tensor, target: Tensor, *, probability: float) -> tuple[Tensor, Tensor]:
    """Mirror each case about one axis drawn at random (z, y or x), with `probability`."""
    chosen = torch.rand(len(image)) < probability
    axes = torch.randint(3, (len(image),))
    images, targets = list(image), list(target)
    for index in chosen.nonzero().flatten().tolist():
        axis = 1 + int(axes[index])
        images[index] = images[index].flip(axis)
        targets[index] = targets[index].flip(axis)
    return torch.stack(images), torch.stack(targets)


TRANSFORMS = {"rotation": rotation, "flip": flip}


def augment(image: Tensor, target: Tensor, transforms: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """Apply the recipe's transforms in order."""
    for settings in transforms:
        transform = TRANSFORMS[settings.name]
        image, target = transform(image, target, **settings.model_dump(exclude={"name"}))
    return image, target
