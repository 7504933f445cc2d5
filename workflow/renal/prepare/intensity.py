"""From Hounsfield units to what a network sees."""

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from renal.prepare.settings import Intensity


@dataclass(frozen=True)
class Statistics:
    """What a whole volume gives to the values of its voxels, in HU after the window.

    Attributes
    ----------
    mean, deviation : float
        What is subtracted and divided by; 0 and 1 without standardisation.
    ends : tuple of float
        What the ends of the range are made of: the window's, or the extremes that occur.
    """

    mean: float
    deviation: float
    ends: tuple[float, float]


def statistics_of(volume: np.ndarray, settings: "Intensity") -> Statistics:
    """The statistics of a (z, y, x) int16 volume in HU; its voxels are looked at if need be."""
    if settings.window is not None and not settings.standardize:
        return Statistics(0, 1, settings.window)
    least, greatest = int(volume.min()), int(volume.max())
    ends = settings.window or (least, greatest)
    if not settings.standardize:
        return Statistics(0, 1, ends)
    counts = _histogram(volume, least, greatest)
    values = np.arange(least, greatest + 1, dtype=np.float64)
    if settings.window is not None:
        values = values.clip(*settings.window)
    mean = np.average(values, weights=counts)
    deviation = max(np.sqrt(np.average((values - mean) ** 2, weights=counts)), 1e-6)
    return Statistics(mean, deviation, ends)


def normalize(
    volume: np.ndarray, settings: "Intensity", statistics: Statistics | None = None
) -> np.ndarray:
    """Window and normalise a CT volume.

    The steps are those of the recipe, in this order: take the median over each voxel's
    neighbourhood, clip to the window, subtract the mean and divide by the standard deviation of
    the volume, map the window's ends, or without a window the extremes that occur, linearly to the
    range. After the median each voxel's result depends on its HU alone, so the steps are done on
    a table of the values that occur.

    Parameters
    ----------
    volume : numpy.ndarray
        (z, y, x) int16, HU.
    settings : Intensity
        The recipe's median filter, window, standardisation and range.
    statistics : Statistics, optional
        Those of the volume that `volume` is a part of. That is not filtered: the median is taken
        within the part, on the voxels that it has.

    Returns
    -------
    numpy.ndarray
        Shape of `volume`, float16.
    """
    if settings.median is not None:
        volume = median_filtered(volume, settings.median)
    whole = statistics or statistics_of(volume, settings)
    low = int(volume.min())
    values = np.arange(low, int(volume.max()) + 1, dtype=np.float64)
    if settings.window is not None:
        values = values.clip(*settings.window)
    values = (values - whole.mean) / whole.deviation
    if settings.rescale is not None:
        first, last = ((end - whole.mean) / whole.deviation for end in whole.ends)
        bottom, top = settings.rescale
        values = bottom + (values - first) * (top - bottom) / max(last - first, 1e-6)
        values = values.clip(bottom, top)
    table = values.astype(np.float16)
    normalized = np.empty_like(volume, np.float16)
    # The last axis is the slowest in memory of KiTS19's files; a few slices at a time bound what
    # the indices take.
    for start in range(0, volume.shape[2], 16):
        part = np.s_[:, :, start : start + 16]
        normalized[part] = table[volume[part].astype(np.int32) - low]
    return normalized


def median_filtered(volume: np.ndarray, size: int) -> np.ndarray:
    """Median over a cube of `size` voxels (odd) round each voxel of a (z, y, x) int16 volume.

    Beyond the volume its outermost voxels repeat. Slices are small enough to stay in the cache,
    which makes this nine times as fast as SimpleITK's filter.
    """
    padded = np.pad(volume, size // 2, mode="edge")
    rows, columns = volume.shape[1:]
    filtered = np.empty_like(volume, order="C")
    for number in range(len(volume)):
        filtered[number] = _median(
            [
                padded[number + z, y : y + rows, x : x + columns]
                for z, y, x in product(range(size), repeat=3)
            ]
        )
    return filtered


def _median(arrays: list[np.ndarray]) -> np.ndarray:
    """Median of an odd number of arrays, element by element, by forgetful selection.

    Among any of more than half of the values neither the smallest nor the largest is the median.
    """
    first = len(arrays) // 2 + 2
    kept, waiting = [array.copy() for array in arrays[:first]], arrays[first:]
    while len(kept) > 1:
        half = len(kept) // 2
        for low, high in zip(kept[:half], kept[::-1], strict=False):
            _sort(low, high)
        # The smallest is in the first half now and the largest in the second, with the middle one
        # of an odd number in both.
        for other in kept[1 : len(kept) - half]:
            _sort(kept[0], other)
        for other in kept[half:-1]:
            _sort(other, kept[-1])
        kept = [*kept[1:-1], *(array.copy() for array in waiting[:1])]
        waiting = waiting[1:]
    return kept[0]


def _sort(low: np.ndarray, high: np.ndarray) -> None:
    """Put the smaller of each two elements into `low` and the larger into `high`."""
    smaller = np.minimum(low, high)
    np.maximum(low, high, out=high)
    low[:] = smaller


def _histogram(volume: np.ndarray, low: int, high: int) -> np.ndarray:
    """Count each value from `low` to `high`, a few slices at a time to bound the memory."""
    counts = np.zeros(high - low + 1, np.int64)
    # The last axis is the slowest in memory of KiTS19's files.
    for start in range(0, volume.shape[2], 16):
        part = volume[:, :, start : start + 16].ravel(order="K")
        counts += np.bincount(part.astype(np.int64) - low, minlength=len(counts))
    return counts
