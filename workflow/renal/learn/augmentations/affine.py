"""Rotation, translation and crop in the plane of the slices, in one interpolation."""

import math

import torch
from torch import Tensor

from renal.learn.augmentations import in_plane
from renal.learn.device import on_device


def transform(
    image: Tensor,
    label: Tensor,
    *,
    degrees: float,
    shift: float,
    crop: float,
    probability: float,
    fill: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Rotate, shift and cut each case in the plane of its slices, with `probability`.

    The angle is drawn from +-`degrees`, the shift along y and x from +-`shift` of the slice's
    length, and the part that is zoomed to the full size has sides of `crop` to all of its length,
    the slice's proportions and a random place. Interpolated one after the other they would blur
    thrice. Bilinear for images, nearest for labels. What comes in from outside is `fill` in the
    image, its smallest value where that is None, and 0 in the label. Cases that are not chosen stay
    as they are, bit by bit: prediction sees images that were never interpolated.
    """
    count = len(image)
    chosen = on_device(torch.rand(count) < probability, image.device)[:, None, None, None, None]
    angles = (torch.rand(count) * 2 - 1) * math.radians(degrees)
    shifts = 2 * (torch.rand(count, 2) * 2 - 1) * shift  # the slice is 2 long
    sides = crop + (1 - crop) * torch.rand(count)
    places = (torch.rand(count, 2) * 2 - 1) * (1 - sides)[:, None]
    turned = in_plane.rotations(angles, image.shape)
    # From where a voxel lies to where its value comes from: zoomed, shifted, then turned.
    offsets = turned @ (places + shifts)[:, :, None]
    matrices = torch.cat([turned * sides[:, None, None], offsets], dim=2)
    background = in_plane.background_of(image, fill)
    moved, moved_label = in_plane.resample(image - background, label, matrices)
    return (
        torch.where(chosen, background + moved, image),
        torch.where(chosen, moved_label, label),
    )
