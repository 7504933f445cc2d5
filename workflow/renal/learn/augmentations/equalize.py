"""Histogram equalisation."""

import torch
from torch import Tensor
from torch.nn import functional

from renal.learn.augmentations import in_plane
from renal.learn.device import on_device

BINS = 256
TOLERANCE = 1e-4  # what interpolation leaves of a constant; less than half precision resolves at 1


def transform(
    image: Tensor, label: Tensor, *, probability: float, fill: float | None = None
) -> tuple[Tensor, Tensor]:
    """Equalise each case's histogram within its own range, with `probability`.

    A value becomes the share of voxels below it, on the range of the image. The background, which
    is voxels of value `fill` or, where that is None, of the image's smallest value, stays as it
    is and is not counted: it is most of an image that a mask or an air-filled margin leaves. The
    label stays as it is.
    """
    chosen = on_device(torch.rand(len(image)) < probability, image.device)[:, None]
    values = image.flatten(1)
    background = in_plane.background_of(image, fill).flatten(1)
    inside = (values - background).abs() > TOLERANCE
    # A background voxel takes the place of one inside, so that it does not widen the range.
    high = torch.where(inside, values, values.amin(1, keepdim=True)).amax(1, keepdim=True)
    low = torch.where(inside, values, high).amin(1, keepdim=True)
    position = (BINS * (values - low) / (high - low).clamp(min=TOLERANCE)).clamp(0, BINS)
    bins = position.long().clamp(max=BINS - 1)
    # Counted as integers, whose sums do not depend on the order in which a GPU adds.
    counts = torch.zeros(len(image), BINS, dtype=torch.long, device=image.device)
    counts.scatter_add_(1, bins, inside.long())
    below = functional.pad(counts.cumsum(1), (1, 0)).float()
    below = below / below[:, -1:].clamp(min=1)
    lower, upper = below.gather(1, bins), below.gather(1, bins + 1)
    equalized = low + (high - low) * (lower + (position - bins) * (upper - lower))
    return torch.where(chosen & inside, equalized, values).view_as(image), label
