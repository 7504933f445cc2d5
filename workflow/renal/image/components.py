"""Connected components of masks."""

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from renal.image.boxes import Box, bounding_box, slices, three

if TYPE_CHECKING:
    from renal.image.settings import Components, Runs

TOUCHING = np.ones((3, 3, 3), bool)  # voxels touch by faces, edges and corners: 26 neighbours


def clean(mask: np.ndarray, settings: "Components") -> tuple[np.ndarray, list[Box]]:
    """Drop small connected components.

    Parameters
    ----------
    mask : numpy.ndarray
        (z, y, x) bool on the native grid.
    settings : Components
        Smallest size in voxels and, optionally, how many of the largest to keep.

    Returns
    -------
    mask : numpy.ndarray
        (z, y, x) bool, the components that are left.
    boxes : list of Box
        Their bounding boxes, largest component first.
    """
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
    counted = settings.counted_on or (None, None, None)
    share = math.prod((n or own) / own for n, own in zip(counted, mask.shape, strict=True))
    kept = [number for number in order if sizes[number] * share >= settings.minimum_voxels]
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


def spanned(mask: np.ndarray, settings: "Runs", step_mm: float) -> np.ndarray:
    """One range of slices from those that hold something.

    Parameters
    ----------
    mask : numpy.ndarray
        (z, 1, 1) bool.
    settings : Runs
        What is smoothed, bridged and long enough, in mm: slices lie 0.5 to 5 mm apart.
    step_mm : float
        From one slice to the next.

    Returns
    -------
    numpy.ndarray
        (z, 1, 1) bool, of a single run or none.
    """
    width = 2 * round((settings.smooth / step_mm - 1) / 2) + 1
    if width > 1:
        mask = ndimage.median_filter(mask, (width, 1, 1), mode="nearest")
    inside = np.flatnonzero(mask)
    if not inside.size:
        return mask
    gaps = np.diff(inside) - 1
    runs = np.split(inside, np.flatnonzero(gaps * step_mm > settings.bridge) + 1)
    lengths = [run[-1] + 1 - run[0] for run in runs]
    least = min(settings.least / step_mm, max(lengths))
    long = [run for run, length in zip(runs, lengths, strict=True) if length >= least]
    spanning = np.zeros_like(mask)
    spanning[long[0][0] : long[-1][-1] + 1] = True
    return spanning
