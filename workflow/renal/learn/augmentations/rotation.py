"""Rotation in the plane of the slices."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from renal.learn.augmentations import in_plane


def transform(
    image: Tensor, label: Tensor, *, degrees: float, fill: float | None = None
) -> tuple[Tensor, Tensor]:
    """Rotate each case in the plane of its slices by an angle drawn from +-`degrees`.

    Bilinear for images, nearest for labels. What comes in from outside is `fill` in the image,
    its smallest value where that is None, and 0 in the label.
    """
    angles = (torch.rand(len(image)) * 2 - 1) * math.radians(degrees)
    matrices = functional.pad(in_plane.rotations(angles, image.shape), (0, 1))
    background = in_plane.background_of(image, fill)
    turned_image, turned_label = in_plane.resample(image - background, label, matrices)
    return background + turned_image, turned_label
