"""Regions of interest as a network sees them, cut out of the native images."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.files import write_array
from renal.handover.checked import CheckedCase
from renal.handover.prepared import PreparedCase, image_file, label_file, write_index
from renal.image.boxes import (
    Box,
    bounding_box,
    joined,
    slices,
    three,
    whole_volume,
    widened,
)
from renal.image.components import clean, spanned
from renal.image.grids import grid_size, labels_to_grid, to_grid
from renal.image.regions import regions_of
from renal.image.volume import read_header, read_label, read_volume
from renal.labels import KITS19, Labels
from renal.parallel import for_each
from renal.prepare.intensity import normalize, statistics_of

if TYPE_CHECKING:
    from renal.image.settings import Regions
    from renal.prepare.settings import RegionCrop

# Of a case: a native (z, y, x) bool mask, and the box within which it was looked for.
MaskSource = Callable[[CheckedCase], tuple[np.ndarray, Box]]


def crop_roi(
    cases: list[CheckedCase],
    settings: "RegionCrop",
    mask_of: MaskSource,
    output: Path,
    *,
    labels: Labels | None = KITS19,
    threads: int = 1,
) -> list[str]:
    """Cut the regions of interest out of the native images and bring each onto its grid.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault.
    settings : RegionCrop
        What the stage that will see the regions asks for.
    mask_of : callable
        Gives a case's native (z, y, x) bool mask, and the box within which it was looked for: the
        truth for training, the earlier stage's prediction otherwise.
    output : Path
        Folder to write.
    labels : Labels, optional
        The scheme of the labels; without it they are not cut.
    threads : int
        Cases at a time.

    Returns
    -------
    list of str
        Names of cases in which there is no region: legal, and their segmentation will be empty.
    """
    work = partial(_crop_case, settings=settings, mask_of=mask_of, output=output, labels=labels)
    prepared = for_each(cases, work, threads)
    write_index(output, prepared)
    return [case.name for case in prepared if not case.boxes]


def _crop_case(
    case: CheckedCase,
    settings: "RegionCrop",
    mask_of: MaskSource,
    output: Path,
    labels: Labels | None,
) -> PreparedCase:
    spacing = case.spacing_mm
    mask, extent = mask_of(case)
    shape = three(mask.shape)
    mask, boxes = locate(mask, extent, spacing, settings)
    if not boxes:
        return PreparedCase(case.name, shape, [])
    jitter = [
        round(mm / step) for mm, step in zip(settings.regions.jitter_mm, spacing, strict=True)
    ]
    wide = [widened(box, jitter, shape) for box in boxes]
    sizes = [grid_size(settings.geometry, box, spacing) for box in wide]
    volume = read_volume(read_header(Path(case.image)))
    for number, image in enumerate(cut_out(volume, mask, wide, spacing, settings)):
        write_array(image_file(output, case.name, number), image)
    if labels is not None and case.labelled:
        label = read_label(read_header(case.label_path), labels)
        for number, (box, size) in enumerate(zip(wide, sizes, strict=True)):
            truth = label[slices(box)]
            if settings.regions.mask:
                truth = truth * mask[slices(box)]
            grid = labels_to_grid(truth, whole_volume(truth.shape), size, labels)
            write_array(label_file(output, case.name, number), grid)
    slack = list(map(_slack, boxes, wide, sizes)) if any(jitter) else []
    return PreparedCase(case.name, shape, wide, slack)


def locate(
    mask: np.ndarray, extent: Box, spacing: tuple[float, float, float], settings: "RegionCrop"
) -> tuple[np.ndarray, list[Box]]:
    """The regions of interest of a mask.

    Parameters
    ----------
    mask : numpy.ndarray
        (z, y, x) bool of the native shape.
    extent : Box
        Within which the mask was looked for.
    spacing : tuple of float
        (z, y, x) mm.
    settings : RegionCrop
        What the stage that will see the regions asks for.

    Returns
    -------
    mask : numpy.ndarray
        (z, y, x) bool, or (z, 1, 1) of slices, without the components that are dropped.
    boxes : list of Box
        The regions; none where nothing is left of the mask.
    """
    shape = three(mask.shape)
    if settings.of_slices:
        # Which slices hold something is all that is known, or used of the truth.
        mask = np.any(mask, axis=(1, 2), keepdims=True)
        if settings.components.runs is not None:
            mask = spanned(mask, settings.components.runs, spacing[0])
    mask, found = clean(mask, settings.components)
    if settings.of_slices:
        found = [(rows, (0, shape[1]), (0, shape[2])) for rows, _, _ in found]
    steps = zip(settings.least, settings.geometry.spacings, spacing, strict=True)
    least = three(math.ceil((n or 0) * (wanted or own) / own) for n, wanted, own in steps)
    return mask, regions_of(found, settings.regions, shape, spacing, extent, least)


def cut_out(
    volume: np.ndarray,
    mask: np.ndarray,
    boxes: list[Box],
    spacing: tuple[float, float, float],
    settings: "RegionCrop",
) -> Iterator[np.ndarray]:
    """The regions of interest as a network sees them.

    Parameters
    ----------
    volume : numpy.ndarray
        (z, y, x) int16, HU.
    mask : numpy.ndarray
        From `locate`.
    boxes : list of Box
        The regions.
    spacing : tuple of float
        (z, y, x) mm.
    settings : RegionCrop
        What the stage that sees the regions asks for.

    Yields
    ------
    numpy.ndarray
        (z, y, x) float16 on the stage's grid, of each region.
    """
    regions = settings.regions
    statistics = statistics_of(volume, settings.intensity)
    for box in boxes:
        part = volume[slices(box)]
        if regions.masked_hu is not None:
            part = np.where(mask[slices(box)], part, np.int16(regions.masked_hu))
        part = normalize(part, settings.intensity, statistics).astype(np.float32)
        if regions.mask and regions.masked_hu is None:
            part *= mask[slices(box)]
        size = grid_size(settings.geometry, box, spacing)
        yield to_grid(part, whole_volume(part.shape), size).astype(np.float16)


def _slack(box: Box, wide: Box, size: tuple[int, int, int]) -> Box:
    """Grid voxels before and behind `box` on a grid of `size` over `wide`."""
    return three(
        (
            int((low - first) * length / (last - first)),
            int((last - high) * length / (last - first)),
        )
        for (low, high), (first, last), length in zip(box, wide, size, strict=True)
    )


def true_mask(
    case: CheckedCase, outer: "Regions | None" = None, labels: Labels = KITS19
) -> tuple[np.ndarray, Box]:
    """The kidney, with what lies within it, in a case's label, and where to look for it.

    Parameters
    ----------
    case : CheckedCase
        A labelled case.
    outer : Regions, optional
        The regions that the stage which looks for it has itself; without them it looks at the
        whole volume.
    labels : Labels
        The scheme of the label, of which the first region is meant.

    Returns
    -------
    mask : numpy.ndarray
        (z, y, x) bool.
    extent : Box
        Native voxels.
    """
    mask = labels.regions[0].mask(read_label(read_header(case.label_path), labels))
    extent = whole_volume(mask.shape)
    box = bounding_box(mask)
    if outer is not None and box is not None:
        extent = joined(regions_of([box], outer, mask.shape, case.spacing_mm, extent))
    return mask, extent
