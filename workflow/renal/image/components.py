"""Connected components of masks."""

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from renal.image.boxes import Box, bounding_box, slices, three

if TYPE_CHECKING:
    from renal.image.settings import Components

TOUCHING = np.ones((3, 3, 3), bool)  # voxels touch by faces, edges and corners: 26 neighbours


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
    part = slices(box)
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
        three((low + s.start, low + s.stop) for (low, _), s in zip(box, found[n - 1], strict=True))
        for n in kept
    ]
    return cleaned, boxes
