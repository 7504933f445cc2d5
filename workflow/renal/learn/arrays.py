"""Arrays as tensors, and padding: what samplers and inference share."""

import numpy as np
import torch
from torch import Tensor


def as_tensor(array: np.ndarray | Tensor) -> Tensor:
    """A tensor of its own memory from an array, which may be a mapped file; tensors stay."""
    return array if isinstance(array, Tensor) else torch.from_numpy(np.array(array))


def padded(
    volume: Tensor, size: tuple[int, ...], whole: np.ndarray | Tensor | None = None
) -> tuple[Tensor, tuple[slice, ...]]:
    """Pad a volume evenly on both sides with its smallest value.

    Parameters
    ----------
    volume : torch.Tensor
        (..., z, y, x).
    size : tuple of int
        Smallest (z, y, x) that is wanted.
    whole : numpy.ndarray or torch.Tensor, optional
        What the volume was cut from, whose smallest value is taken then.

    Returns
    -------
    padded : torch.Tensor
        (..., z, y, x), at least of `size`.
    place : tuple of slice
        Where the volume lies in it.
    """
    sides: list[int] = []
    place: list[slice] = []
    for length, wanted in zip(volume.shape[-3:], size, strict=True):
        before = max(0, wanted - length) // 2
        sides.append(max(length, wanted))
        place.append(slice(before, before + length))
    inner = tuple(place)
    if sides == list(volume.shape[-3:]):
        return volume, inner
    # The smallest value stays where it is, on a GPU too.
    least = torch.as_tensor((volume if whole is None else whole).min())
    large = least.expand(*volume.shape[:-3], *sides).clone()
    large[..., inner[0], inner[1], inner[2]] = volume
    return large, inner
