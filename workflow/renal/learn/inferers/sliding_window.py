"""Overlapping patches, averaged."""

from itertools import product
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from renal.learn.arrays import padded
from renal.learn.device import on_device
from renal.learn.inferers.batches import batches, stacked

if TYPE_CHECKING:
    from renal.learn.inferers import Predictor

# Of the patch's side, and the least weight: as in MONAI.
SIGMA, LEAST_WEIGHT = 0.125, 1e-3


def infer(
    images: list[Tensor],
    predictor: "Predictor",
    *,
    size: tuple[int, int, int],
    overlap: tuple[int, int, int],
    weighting: Literal["uniform", "gaussian"],
    context: int = 1,
    times: int = 1,
) -> list[Tensor]:
    """Probabilities (maps, z, y, x) of images (z, y, x): the same as MONAI's sliding window.

    Parameters
    ----------
    images : list of torch.Tensor
        (z, y, x) float. Padded with its smallest value where it is smaller than a patch.
    predictor : callable
        See the package.
    size, overlap : tuple of int
        Voxels (z, y, x) of a patch, and by how many neighbouring patches overlap.
    weighting : {"uniform", "gaussian"}
        How patches are averaged; Gaussian weights have a sigma of an eighth of the patch.
    context : int
        Of no use on volumes.
    times : int
        Patches at a time.
    """
    weights = torch.ones(size) if weighting == "uniform" else gaussian(size)
    return [_infer_one(image, predictor, overlap, weights, times) for image in images]


def _infer_one(
    image: Tensor,
    predictor: "Predictor",
    overlap: tuple[int, int, int],
    weights: Tensor,
    times: int,
) -> Tensor:
    large, place = padded(image, tuple(weights.shape))
    weights = on_device(weights, image.device)
    total: Tensor | None = None
    count = torch.zeros_like(large)
    places = patches(tuple(large.shape), tuple(weights.shape), overlap)
    for several in batches(places, times):
        found = predictor(stacked([large[patch] for patch in several])).to(image.device)
        if total is None:
            total = torch.zeros((found.shape[1], *large.shape), device=image.device)
        for maps, patch in zip(found, several, strict=True):
            total[:, *patch] += maps * weights
            count[patch] += weights
    assert total is not None  # there is a patch in every volume
    total /= count
    return total[:, *place]


def gaussian(size: tuple[int, ...]) -> Tensor:
    """Weights that fall off from the middle of a patch, by MONAI's ``compute_importance_map``.

    Parameters
    ----------
    size : tuple of int
        Voxels (z, y, x).

    Returns
    -------
    torch.Tensor
        (z, y, x) float32, at least `LEAST_WEIGHT`.
    """
    weights = torch.ones(())
    for side in size:
        distance = torch.arange(-(side - 1) / 2, (side - 1) / 2 + 1)
        weights = weights[..., None] * torch.exp(distance**2 / (-2 * (SIGMA * side) ** 2))
    return weights.clamp(min=max(weights.min().item(), LEAST_WEIGHT))


def patches(
    shape: tuple[int, ...], size: tuple[int, ...], overlap: tuple[int, ...]
) -> list[tuple[slice, ...]]:
    """Places of patches that cover a volume, the last ones moved in from its end.

    Parameters
    ----------
    shape, size, overlap : tuple of int
        Voxels (z, y, x) of the volume, of a patch, and by which neighbours overlap.
    """
    starts = []
    for length, side, shared in zip(shape, size, overlap, strict=True):
        last = length - side
        starts.append([*range(0, last, side - shared), last])
    return [
        tuple(slice(start, start + side) for start, side in zip(corner, size, strict=True))
        for corner in product(*starts)
    ]
