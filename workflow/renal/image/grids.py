"""From the scanner's voxels to a method's grid and back.

A grid is a box of the native volume divided into a number of voxels. Voxel centres are aligned so
that both cover the same box: grid index g lies at native index
``start + (g + 0.5) * length / size - 0.5``.
"""

from collections import defaultdict
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from renal.image.boxes import Box, bounding_box, inside, slices, three, widened
from renal.labels import KITS19, Labels, Region

if TYPE_CHECKING:
    from renal.image.settings import Geometry

# A sum of eight rounded weights is off by less than TIE.
HALF, TIE = np.float32(0.5), np.float32(1e-4)


def grid_size(
    settings: "Geometry", box: Box, spacing: tuple[float, float, float]
) -> tuple[int, int, int]:
    """Voxels (z, y, x) of a stage's grid over a box of a volume with `spacing` (z, y, x) in mm."""
    sizes = []
    for (start, stop), step, size, wanted in zip(
        box, spacing, settings.sizes, settings.spacings, strict=True
    ):
        native = stop - start
        sizes.append(size or (max(1, round(native * step / wanted)) if wanted else native))
    return three(sizes)


def to_grid(
    volume: np.ndarray,
    box: Box,
    size: tuple[int, int, int],
    outside: float = 0,
) -> np.ndarray:
    """Interpolate a box of a native volume linearly onto a grid.

    Parameters
    ----------
    volume : numpy.ndarray
        (z, y, x) int16 HU or float32. Labels are for `labels_to_grid`.
    box : Box
        Part of the volume, in voxels; it may leave the volume.
    size : tuple of int
        Voxels of the grid (z, y, x).
    outside : float
        Value outside of the volume. Beyond the outermost voxel centres, within it, the edge value
        holds.

    Returns
    -------
    numpy.ndarray
        (z, y, x) of `size`, dtype of `volume`.
    """
    cut = inside(box, volume.shape)
    part = volume[slices(cut)]
    if part.shape == tuple(size) and cut == box:
        return np.array(part, order="C")
    low, high = np.array(box).T
    step = (high - low) / np.array(size)
    offset = low - np.array(cut)[:, 0] + 0.5 * step - 0.5
    values = _resample(part, size, offset, step, outside)
    # Left to itself SimpleITK cuts decimals off, which draws all HU half a unit towards zero.
    return np.rint(values).astype(volume.dtype) if volume.dtype.kind in "iu" else values


def labels_to_grid(
    label: np.ndarray, box: Box, size: tuple[int, int, int], labels: Labels = KITS19
) -> np.ndarray:
    """Resample a box of a native label map onto a grid: each region linearly, cut at one half.

    The nearest voxel would not do: from 512 pixels to 256 it is always the second of two, half a
    native voxel away from where the image is interpolated. A share of exactly one half, as on every
    other straight edge there, counts in every other voxel of the grid, so that regions neither grow
    nor shrink nor move. Regions that lie apart within the same one are cut together, and each voxel
    of them is the one's with the largest share: none of what lies round them comes between.

    Parameters
    ----------
    label : numpy.ndarray
        (z, y, x) uint8.
    box : Box
        Part of the volume, in voxels; it may leave the volume, where the label is 0.
    size : tuple of int
        Voxels of the grid (z, y, x).
    labels : Labels
        What the label values mean.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8 of `size`.
    """
    low, high = np.array(box).T
    cut = inside(box, label.shape)
    if cut == box and tuple(high - low) == tuple(size):
        return np.array(label[slices(cut)], order="C")
    grid = np.zeros(size, np.uint8)
    part, step = label[slices(cut)], (high - low) / np.array(size)
    origin = low - np.array(cut)[:, 0]
    families: dict[Region | None, list[Region]] = defaultdict(list)
    for region in labels.regions:
        families[labels.outer(region)].append(region)
    for outer, family in families.items():
        found = bounding_box(reduce(or_, (region.mask(part) for region in family)))
        if found is None:
            continue
        # Most of a scan holds no label: what is computed is what the regions' voxels reach.
        near = widened(found, [1, 1, 1], part.shape)
        start, stop = np.array(near).T
        first = np.clip(np.floor((start - origin) / step).astype(int) - 1, 0, size)
        last = np.clip(np.ceil((stop - origin) / step).astype(int) + 1, 0, size)
        reached = grid[tuple(map(slice, first, last))]
        offset = origin - start + (first + 0.5) * step - 0.5
        shares = [
            _resample(region.mask(part[slices(near)]).view(np.uint8), reached.shape, offset, step)
            for region in family
        ]
        even = sum(np.ogrid[tuple(map(slice, first, last))]) % 2 == 0
        tie = np.where(even, -TIE, TIE)
        within = reached == (0 if outer is None else labels.own_value(outer))
        within &= reduce(np.add, shares) > HALF + tie
        reached[within] = labels.own_value(family[0])
        largest = shares[0]
        for region, share in zip(family[1:], shares[1:], strict=True):
            reached[within & (share > largest + tie)] = labels.own_value(region)
            largest = np.maximum(largest, share)
    return grid


def to_native(grid: np.ndarray, box: Box, window: Box | None = None) -> tuple[np.ndarray, Box]:
    """Interpolate a grid linearly back to the native voxels of its box.

    Parameters
    ----------
    grid : numpy.ndarray
        (z, y, x) float32 on the grid, such as probabilities.
    box : Box
        The part of the native volume that the grid covers, in voxels.
    window : Box, optional
        Part of the grid, in grid voxels, outside of which it is zero: only the native voxels
        that it reaches are computed, which for two kidneys is a tenth of the work.

    Returns
    -------
    native : numpy.ndarray
        Values at native voxels, dtype of `grid`.
    native_box : Box
        Where in the native volume they belong; voxels outside of it are zero.
    """
    start = np.array([low for low, _ in box])
    length = np.array([high - low for low, high in box])
    size = np.array(grid.shape)
    step = size / length
    if window is None:
        first, last = np.zeros(3, int), length
    else:
        low, high = np.array(window).T
        first = np.maximum(np.floor((low - 1) / step).astype(int) - 1, 0)
        last = np.minimum(np.ceil((high + 1) / step).astype(int) + 1, length)
    offset = (first + 0.5) * step - 0.5
    native = _resample(grid, tuple(last - first), offset, step)
    native_box = three(
        (int(begin + low), int(begin + high))
        for begin, low, high in zip(start, first, last, strict=True)
    )
    return native, native_box


def _resample(
    array: np.ndarray,
    size: tuple[int, int, int],
    offset: np.ndarray,
    step: np.ndarray,
    outside: float = 0,
) -> np.ndarray:
    """`array` interpolated at ``offset + i * step`` for i in 0..size - 1 along each axis, float."""
    # SimpleITK's index order is (x, y, z) of a C-ordered array. Handing it the transposed
    # F-ordered array keeps our order of axes and spares KiTS19's files a copy.
    image = sitk.GetImageFromArray(np.asfortranarray(array).T)
    resampled = sitk.Resample(
        image,
        [int(n) for n in size],
        sitk.Transform(),
        sitk.sitkLinear,
        [float(value) for value in offset],
        [float(value) for value in step],
        image.GetDirection(),
        float(outside),
        sitk.sitkFloat32 if array.dtype.kind in "iu" else image.GetPixelID(),
    )
    return sitk.GetArrayFromImage(resampled).T
