"""Translation in the plane of the slices."""

import torch
from torch import Tensor

from renal.learn.augmentations import in_plane


def transform(
    image: Tensor, label: Tensor, *, share: float, fill: float | None = None
) -> tuple[Tensor, Tensor]:
    """Shift each case along y and x, each by up to `share` of the slice's length either way.

    Bilinear for images, nearest for labels. What comes in from outside is `fill` in the image,
    its smallest value where that is None, and 0 in the label.
    """
    shifts = (torch.rand(2, len(image)) * 2 - 1) * share
    matrices = torch.eye(2, 3).repeat(len(image), 1, 1)
    matrices[:, :, 2] = 2 * shifts.T  # the slice is 2 long
    background = in_plane.background_of(image, fill)
    moved_image, moved_label = in_plane.resample(image - background, label, matrices, "zeros")
    return background + moved_image, moved_label
