"""The regions that a stage looks at, from the components of an earlier stage's mask."""

import math
from typing import TYPE_CHECKING

from renal.image.boxes import Box, joined, three, widened

if TYPE_CHECKING:
    from renal.image.settings import Regions


def regions_of(
    boxes: list[Box],
    settings: "Regions",
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    extent: Box,
    least: tuple[int, int, int] = (0, 0, 0),
) -> list[Box]:
    """The regions that a stage looks at, from the boxes of the components it starts from.

    Parameters
    ----------
    boxes : list of Box
        Bounding boxes of components, largest first.
    settings : Regions
        How many to take, whether a single one is taken again (Hao 2019: B2 = B1), whether they
        are joined, along which axes they cut, and the margins.
    shape : tuple of int
        (z, y, x) of the volume, which no box leaves.
    spacing : tuple of float
        (z, y, x) mm.
    extent : Box
        Where the components were looked for: regions cover it along axes that they do not cut.
    least : tuple of int
        Voxels (z, y, x) that a region has at least, where the volume is as long: what surrounds a
        small kidney is seen as it is.

    Returns
    -------
    list of Box
        As many as the recipe asks for, or fewer; none if there is no component.
    """
    if settings.join and boxes:
        boxes = [joined(boxes)]
    chosen = boxes[: settings.count]
    if settings.repeat and chosen:
        chosen = (chosen * math.ceil(settings.count / len(chosen)))[: settings.count]
    margins = [
        settings.margin_voxels + round(margin / step)
        for margin, step in zip(settings.margin_mm, spacing, strict=True)
    ]
    wide = [widened(_along(box, settings.axes, extent), margins, shape) for box in chosen]
    return [_extended(box, least, shape) for box in wide]


def _extended(box: Box, least: tuple[int, int, int], shape: tuple[int, int, int]) -> Box:
    """A box with `least` voxels along each axis: the same middle, moved into the volume."""
    sides = []
    for (low, high), wanted, length in zip(box, least, shape, strict=True):
        side = min(max(high - low, wanted), length)
        start = min(max((low + high - side) // 2, 0), length - side)
        sides.append((start, start + side))
    return three(sides)


def _along(box: Box, axes: tuple[str, ...], extent: Box) -> Box:
    return three(
        side if axis in axes else whole
        for axis, side, whole in zip("zyx", box, extent, strict=True)
    )
