"""Overlapping patches, averaged."""

from itertools import product
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from renal.learn.arrays import padded

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
    """
    weights = torch.ones(size) if weighting == "uniform" else gaussian(size)
    return [_infer_one(image, predictor, overlap, weights) for image in images]


def _infer_one(
    image: Tensor, predictor: "Predictor", overlap: tuple[int, int, int], weights: Tensor
) -> Tensor:
    large, place = padded(image, tuple(weights.shape))
    total: Tensor | None = None
    count = torch.zeros(large.shape)
    for patch in patches(tuple(large.shape), tuple(weights.shape), overlap):
        # Patches are put together on the CPU: a region at full resolution may not fit beside the
        # network on a GPU.
        (maps,) = predictor(large[None, None, *patch]).to(image.device)
        if total is None:
            total = torch.zeros((len(maps), *large.shape))
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
