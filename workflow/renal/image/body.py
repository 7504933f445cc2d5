"""The body in a scan."""

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from renal.image.boxes import Box, whole_volume

if TYPE_CHECKING:
    from renal.image.settings import Body


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
