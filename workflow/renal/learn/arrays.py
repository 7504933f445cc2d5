"""Arrays as tensors, and padding: what samplers and inference share."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def as_tensor(array: np.ndarray | Tensor) -> Tensor:
    """A tensor of its own memory from an array, which may be a mapped file; tensors stay."""
    return array if isinstance(array, Tensor) else torch.from_numpy(np.array(array))


def padded(volume: Tensor, size: tuple[int, ...]) -> tuple[Tensor, tuple[slice, ...]]:
    """Pad a volume evenly on both sides with its smallest value.

    Parameters
    ----------
    volume : torch.Tensor
        (..., z, y, x).
    size : tuple of int
        Smallest (z, y, x) that is wanted.

    Returns
    -------
    padded : torch.Tensor
        (..., z, y, x), at least of `size`.
    place : tuple of slice
        Where the volume lies in it.
    """
    pads, place = [], []
    for length, wanted in zip(volume.shape[-3:], size, strict=True):
        missing = max(0, wanted - length)
        pads.append((missing // 2, missing - missing // 2))
        place.append(slice(missing // 2, missing // 2 + length))
    if any(before or behind for before, behind in pads):
        # torch counts the axes from the last one.
        flat = [pad for pair in reversed(pads) for pad in pair]
        volume = functional.pad(volume, flat, value=volume.min().item())
    return volume, tuple(place)
