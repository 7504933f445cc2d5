"""Where to look: the body in a scan, the kidneys in a mask."""

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from renal.resample import Box, inside, whole_volume

if TYPE_CHECKING:
    from renal.recipe import Body, Components, Regions

TOUCHING = np.ones((3, 3, 3), bool)


def body_box(volume: np.ndarray, spacing: tuple[float, float, float], settings: "Body") -> Box:
    """Bounding box of the body on the middle slice, for every slice (Hao 2019, section 2.2).

    Parameters
    ----------
    volume : numpy.ndarray
        (z, y, x) int16, HU.
    spacing : tuple of float
        (z, y, x) mm.
    settings : Body
        Threshold in HU and opening radius in mm.

    Returns
    -------
    Box
        All slices, and the rows and columns of the body; the whole volume if no body is found.
    """
    tissue = volume[len(volume) // 2] > settings.threshold_hu
    body = largest_piece(tissue, spacing, settings.opening_mm)
    if not body.any():
        return whole_volume(volume.shape)
    rows, columns = ndimage.find_objects(body.astype(np.uint8))[0]
    return ((0, len(volume)), (rows.start, rows.stop), (columns.start, columns.stop))


def largest_piece(
    tissue: np.ndarray, spacing: tuple[float, float, float], opening_mm: float
) -> np.ndarray:
    """Largest connected piece of a slice after an opening, its holes filled.

    Parameters
    ----------
    tissue : numpy.ndarray
        (y, x) bool.
    spacing : tuple of float
        (z, y, x) mm.
    opening_mm : float
        Radius of the opening's disc.

    Returns
    -------
    numpy.ndarray
        (y, x) bool, empty if the opening leaves nothing.
    """
    radius = max(1, round(opening_mm / min(spacing[1:])))
    # An opening by a disc is a threshold on the distance to the background, there and back.
    eroded = ndimage.distance_transform_edt(np.pad(tissue, 1))[1:-1, 1:-1] > radius
    if not eroded.any():
        return eroded
    opened = ndimage.distance_transform_edt(~eroded) <= radius
    components, _ = ndimage.label(opened)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(components == sizes.argmax())


def bounding_box(mask: np.ndarray) -> Box | None:
    """Bounding box of the non-zero voxels of a (z, y, x) array; None if there are none."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        indices = np.flatnonzero(mask.any(axis=others))
        if indices.size == 0:
            return None
        box.append((int(indices[0]), int(indices[-1]) + 1))
    return tuple(box)


def clean(mask: np.ndarray, settings: "Components") -> tuple[np.ndarray, list[Box]]:
    """Drop small connected components.

    Parameters
    ----------
    mask : numpy.ndarray
        (z, y, x) bool on the native grid.
    settings : Components
        Smallest size in voxels and, optionally, how many of the largest to keep; where asked for,
        whether there is anything in a slice is smoothed first, for (z, 1, 1) masks.

    Returns
    -------
    mask : numpy.ndarray
        (z, y, x) bool, the components that are left.
    boxes : list of Box
        Their bounding boxes, largest component first.
    """
    if settings.smooth_slices is not None:
        mask = ndimage.median_filter(mask, (settings.smooth_slices, 1, 1), mode="nearest")
    box = bounding_box(mask)
    cleaned = np.zeros_like(mask)
    if box is None:
        return cleaned, []
    part = tuple(slice(low, high) for low, high in box)
    components, count = ndimage.label(mask[part], structure=TOUCHING)
    # Slice by slice: numpy counts and looks up in 64 bits, eight times the volume itself.
    sizes = np.zeros(count + 1, int)
    for plane in components:
        counts = np.bincount(plane.ravel())
        sizes[: len(counts)] += counts
    sizes[0] = 0
    order = [number for number in np.argsort(-sizes, kind="stable") if sizes[number] > 0]
    kept = [number for number in order if sizes[number] >= settings.minimum_voxels]
    if settings.keep is not None:
        kept = kept[: settings.keep]
    is_kept = np.zeros(count + 1, bool)
    is_kept[kept] = True
    for plane, target in zip(components, cleaned[part], strict=True):
        target[...] = is_kept[plane]
    found = ndimage.find_objects(components)
    boxes = [
        tuple((low + s.start, low + s.stop) for (low, _), s in zip(box, found[n - 1], strict=True))
        for n in kept
    ]
    return cleaned, boxes


def regions_of(
    boxes: list[Box],
    settings: "Regions",
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    extent: Box,
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
    return [widened(_along(box, settings.axes, extent), margins, shape) for box in chosen]


def joined(boxes: list[Box]) -> Box:
    """The box round some boxes."""
    return tuple(
        (min(low for low, _ in sides), max(high for _, high in sides))
        for sides in zip(*boxes, strict=True)
    )


def widened(box: Box, margins: list[int], shape: tuple[int, int, int]) -> Box:
    """A box with a margin of so many voxels on both sides of each axis, cut at the volume."""
    sides = zip(box, margins, strict=True)
    return inside(tuple((low - margin, high + margin) for (low, high), margin in sides), shape)


def _along(box: Box, axes: tuple[str, ...], extent: Box) -> Box:
    return tuple(
        side if axis in axes else whole
        for axis, side, whole in zip("zyx", box, extent, strict=True)
    )
