"""Cropping in the plane of the slices."""

import torch
from torch import Tensor

from renal.learn.augmentations import in_plane


def transform(image: Tensor, label: Tensor, *, share: float) -> tuple[Tensor, Tensor]:
    """Cut a part out of each case's slices and zoom it to their size.

    The part has the proportions of the slice, sides between `share` and all of its length, and a
    random place, the same in all slices of a case. Bilinear for images, nearest for labels.
    """
    sides = share + (1 - share) * torch.rand(len(image))
    centres = (torch.rand(2, len(image)) * 2 - 1) * (1 - sides)
    matrices = torch.eye(2, 3) * sides[:, None, None]
    matrices[:, :, 2] = centres.T
    return in_plane.resample(image, label, matrices, "border")
