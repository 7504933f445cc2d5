"""From the scanner's voxels to a method's grid and back.

A grid is a box of the native volume divided into a number of voxels. Voxel centres are aligned so
that both cover the same box: grid index g lies at native index
``start + (g + 0.5) * length / size - 0.5``.
"""

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from renal.image.boxes import Box, inside, slices, three

if TYPE_CHECKING:
    from renal.image.settings import Geometry

INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}


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
    interpolation: str,
    outside: float = 0,
) -> np.ndarray:
    """Resample a box of a native volume onto a grid.

    Parameters
    ----------
    volume : numpy.ndarray
        (z, y, x) int16 HU or uint8 labels.
    box : Box
        Part of the volume, in voxels; it may leave the volume.
    size : tuple of int
        Voxels of the grid (z, y, x).
    interpolation : {"linear", "nearest"}
        As SimpleITK does it; beyond the outermost voxel centres the edge value holds.
    outside : float
        Value outside of the volume.

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
    return _resample(part, size, offset, step, interpolation, outside)


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
    native = _resample(grid, tuple(last - first), offset, step, "linear")
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
    interpolation: str,
    outside: float = 0,
) -> np.ndarray:
    """Sample `array` at index ``offset + i * step`` for i in 0..size - 1 along each axis."""
    # SimpleITK's index order is (x, y, z) of a C-ordered array. Handing it the transposed
    # F-ordered array keeps our order of axes and spares KiTS19's files a copy.
    image = sitk.GetImageFromArray(np.asfortranarray(array).T)
    # Left to itself SimpleITK cuts decimals off, which draws all HU half a unit towards zero.
    rounded = interpolation == "linear" and array.dtype.kind in "iu"
    resampled = sitk.Resample(
        image,
        [int(n) for n in size],
        sitk.Transform(),
        INTERPOLATORS[interpolation],
        [float(value) for value in offset],
        [float(value) for value in step],
        image.GetDirection(),
        float(outside),
        sitk.sitkFloat32 if rounded else image.GetPixelID(),
    )
    values = sitk.GetArrayFromImage(resampled).T
    return np.rint(values).astype(array.dtype) if rounded else values
