"""Rotation in the plane of the slices."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def transform(
    image: Tensor, target: Tensor, *, degrees: float, fill: float
) -> tuple[Tensor, Tensor]:
    """Rotate each case in the plane of its slices by an angle drawn from +-`degrees`.

    Bilinear for images, nearest for targets. What comes in from outside is `fill` in the image
    and background in the target.
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
    # grid_sample pads with 0 only.
    turned_image = fill + functional.grid_sample(
        flat_image - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    turned_target = functional.grid_sample(
        flat_target, grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return turned_image.view_as(image), turned_target.view_as(target)
