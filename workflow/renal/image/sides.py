"""Right and left kidney told apart by the middle of the body."""

import numpy as np
from scipy import ndimage

from renal.image.body import largest_piece
from renal.image.boxes import bounding_box, slices
from renal.image.components import TOUCHING

RIGHT, LEFT, UNTOLD = 1, 2, 3
BODY_HU, TABLE_MM = -200, 10  # as where an image is checked: tissue, and more than a table's
ACROSS_SHARE = 0.2  # of a component on its lesser side, from which it has no side


def kidney_sides(
    kidney: np.ndarray, volume: np.ndarray, spacing: tuple[float, float, float]
) -> np.ndarray:
    """The side of each kidney voxel.

    A connected component has the side of the body's middle on which it lies. One that lies on both,
    as a horseshoe kidney does, has none.

    Parameters
    ----------
    kidney : numpy.ndarray
        (z, y, x) bool, with tumours and cysts; columns run towards the patient's left.
    volume : numpy.ndarray
        (z, y, x) int16, HU.
    spacing : tuple of float
        (z, y, x) mm.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8: 0 outside of `kidney`, `RIGHT`, `LEFT` or `UNTOLD` within.
    """
    sides = np.zeros(kidney.shape, np.uint8)
    box = bounding_box(kidney)
    if box is None:
        return sides
    middle = _middle(volume[sum(box[0]) // 2], spacing)
    columns = np.arange(*box[2])
    components, count = ndimage.label(kidney[slices(box)], structure=TOUCHING)
    found = np.full(count + 1, UNTOLD, np.uint8)
    found[0] = 0
    for number, part in enumerate(ndimage.find_objects(components), start=1):
        where = columns[part[2]]
        across = (components[part] == number).sum(axis=(0, 1))
        left = across[where > middle].sum() / across.sum()
        if not ACROSS_SHARE < left < 1 - ACROSS_SHARE:
            found[number] = LEFT if left > 0.5 else RIGHT
    sides[slices(box)] = found[components]
    return sides


def _middle(plane: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """Column of the body's middle on a slice; the slice's own where no body is found."""
    body = largest_piece(plane > BODY_HU, spacing, TABLE_MM)
    if not body.any():
        return float(plane.shape[1] - 1) / 2
    columns = np.flatnonzero(body.any(axis=0))
    return float((columns[0] + columns[-1]) / 2)
