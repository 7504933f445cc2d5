"""What the transforms in the plane of the slices share."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from renal.learn.device import on_device


def rotations(angles: Tensor, shape: Sequence[int]) -> Tensor:
    """Turns of slices by angles (batch,) in radians, (batch, 2, 2); `shape` ends with y and x."""
    rows, columns = shape[-2:]
    cosines, sines = angles.cos(), angles.sin()
    across = torch.stack([cosines, -sines * (rows / columns)], dim=1)
    along = torch.stack([sines * (columns / rows), cosines], dim=1)
    return torch.stack([across, along], dim=1)


def resample(image: Tensor, label: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Resample all slices of a case by one affine map: bilinear for images, nearest for labels.

    What lies outside of the slice is 0.

    Parameters
    ----------
    image : torch.Tensor
        (batch, 1, z, y, x) float.
    label : torch.Tensor
        (batch, channels, z', y, x) float; z' may differ from z.
    matrices : torch.Tensor
        (batch, 2, 3), from where a voxel (x, y) lies to where its value comes from. Both axes run
        from -1 to 1 over the slice, whatever their lengths.
    """
    # Slices serve as channels.
    flat_image, flat_label = image.flatten(1, 2), label.flatten(1, 2)
    moves = on_device(matrices, image.device).to(image.dtype)
    grid = functional.affine_grid(moves, list(flat_image.shape), align_corners=False)
    moved_image = functional.grid_sample(flat_image, grid, mode="bilinear", align_corners=False)
    moved_label = functional.grid_sample(flat_label, grid, mode="nearest", align_corners=False)
    return moved_image.view_as(image), moved_label.view_as(label)


def background_of(image: Tensor, fill: float | None) -> Tensor:
    """`fill`, or the smallest value of each image (batch, 1, z, y, x), as (batch, 1, 1, 1, 1)."""
    if fill is None:
        return image.amin((1, 2, 3, 4), keepdim=True)
    return torch.full_like(image[:, :, :1, :1, :1], fill)
