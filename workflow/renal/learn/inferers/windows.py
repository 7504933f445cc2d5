"""Windows of consecutive slices, of which the middle is kept."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from renal.learn.arrays import padded
from renal.learn.inferers.batches import batches, stacked

if TYPE_CHECKING:
    from renal.learn.inferers import Predictor


def infer(
    images: list[Tensor],
    predictor: "Predictor",
    *,
    length: int,
    step: int,
    keep: tuple[int, int],
    context: int = 1,
    times: int = 1,
) -> list[Tensor]:
    """Probabilities (maps, z, y, x) of images (z, y, x).

    Parameters
    ----------
    images : list of torch.Tensor
        (z, y, x) float. Padded with its smallest value where it has fewer slices than a window.
    predictor : callable
        See the package.
    length, step : int
        Slices of a window, and between the beginnings of two.
    keep : tuple of int
        First slice of a window that is kept, and the one after the last.
    context : int
        Of no use on volumes.
    times : int
        Windows at a time.
    """
    return [_infer_one(image, predictor, length, step, keep, times) for image in images]


def _infer_one(
    image: Tensor,
    predictor: "Predictor",
    length: int,
    step: int,
    keep: tuple[int, int],
    times: int,
) -> Tensor:
    large, place = padded(image, (length, *image.shape[1:]))
    parts = []
    for several in batches(middle_windows(len(large), length, step, keep), times):
        found = predictor(stacked([large[start : start + length] for start, _, _ in several]))
        parts += [
            maps[:, first:last].to(image.device)
            for maps, (_, first, last) in zip(found, several, strict=True)
        ]
    return torch.cat(parts, dim=1)[:, *place]


def middle_windows(
    slices: int, length: int, step: int, keep: tuple[int, int]
) -> list[tuple[int, int, int]]:
    """Where windows begin, and which of their slices are kept, so that each slice is kept once.

    Parameters
    ----------
    slices : int
        Slices of the volume, at least `length`.
    length, step, keep
        See `infer`.

    Returns
    -------
    list of tuple
        (start, first, last): slices start + first to start + last, the end excluded. The first
        window keeps the beginning too, and the last one ends where the volume does.
    """
    windows, done = [], 0
    while done < slices:
        start = min(max(done - keep[0], 0), slices - length)
        last = slices if start + length == slices else start + keep[1]
        windows.append((start, done - start, last - start))
        done = last
    return windows
