"""Boxes of voxels: where a part of a volume lies."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

# ((z0, z1), (y0, y1), (x0, x1)) in voxels, ends excluded.
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

Item = TypeVar("Item")


def three(values: Iterable[Item]) -> tuple[Item, Item, Item]:
    """Exactly three values, those of z, y and x, as a tuple."""
    z, y, x = values
    return z, y, x


def slices(box: Box) -> tuple[slice, slice, slice]:
    """`box`, ((z0, z1), (y0, y1), (x0, x1)) in voxels with ends excluded, as slices."""
    return three(slice(start, stop) for start, stop in box)


def whole_volume(shape: tuple[int, int, int]) -> Box:
    """The box of a whole volume of `shape` (z, y, x) voxels."""
    return three((0, int(length)) for length in shape)


def extended_box(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    extent_mm: tuple[float, float, float],
) -> Box:
    """A box of at least `extent_mm` centred on a volume, which it may leave on both sides."""
    box = []
    for length, step, extent in zip(shape, spacing, extent_mm, strict=True):
        extended = max(round(extent / step), length)
        start = (length - extended) // 2
        box.append((start, start + extended))
    return three(box)


def inside(box: Box, shape: tuple[int, int, int]) -> Box:
    """The part of a box that lies in a volume of `shape`."""
    return three(
        (min(max(low, 0), length), min(max(high, 0), length))
        for (low, high), length in zip(box, shape, strict=True)
    )


def bounding_box(mask: np.ndarray) -> Box | None:
    """Bounding box of the voxels above 0 of a (z, y, x) array without negative ones, or None."""
    box: dict[int, tuple[int, int]] = {}
    part = mask
    # Cutting along the slowest axis in memory first leaves little to read for the others.
    for axis in np.argsort(np.abs(mask.strides))[::-1].tolist():
        others = tuple(other for other in range(3) if other != axis)
        indices = np.flatnonzero(part.max(axis=others, initial=0))  # faster than `any`
        if indices.size == 0:
            return None
        box[axis] = (int(indices[0]), int(indices[-1]) + 1)
        part = part[(slice(None),) * axis + (slice(*box[axis]),)]
    return three(box[axis] for axis in range(3))


def joined(boxes: list[Box]) -> Box:
    """The box round some boxes."""
    return three(
        (min(low for low, _ in sides), max(high for _, high in sides))
        for sides in zip(*boxes, strict=True)
    )


def widened(box: Box, margins: list[int], shape: tuple[int, int, int]) -> Box:
    """A box with a margin of so many voxels on both sides of each axis, cut at the volume."""
    sides = zip(box, margins, strict=True)
    return inside(three((low - margin, high + margin) for (low, high), margin in sides), shape)
