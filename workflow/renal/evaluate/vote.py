"""What several rows' segmentations agree upon.

References
----------
S. K. Warfield, K. H. Zou and W. M. Wells, "Simultaneous truth and performance level estimation
(STAPLE)", IEEE Transactions on Medical Imaging 23(7), 2004
"""

from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from renal.handover.checked import CheckedCase
from renal.handover.segmentations import segmentation_of
from renal.handover.writing import write_segmentations
from renal.image.boxes import bounding_box, slices, three, widened
from renal.image.volume import read_header, read_label
from renal.labels import KITS19, Labels

if TYPE_CHECKING:
    from renal.evaluate.settings import Voting

# STAPLE weighs what the rows say against how common a region is in the box that is looked at: the
# union of their masks, widened by so many voxels.
MARGIN = 5


def vote(
    cases: list[CheckedCase],
    segmentations: dict[str, Path],
    settings: "Voting",
    output: Path,
    *,
    labels: Labels = KITS19,
    threads: int = 1,
) -> None:
    """Write ``<case>.nii.gz`` of every case, in exactly the geometry of its image.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault.
    segmentations : dict
        Row to its folder of segmentations.
    settings : Voting
        Who votes on which region, and how.
    output : Path
        Folder to write.
    labels : Labels
        The scheme of the label maps.
    threads : int
        Cases at a time.
    """
    label_of = partial(_label_of, segmentations=segmentations, settings=settings, labels=labels)
    write_segmentations(cases, label_of, output, threads=threads)


def _label_of(
    case: CheckedCase, segmentations: dict[str, Path], settings: "Voting", labels: Labels
) -> np.ndarray:
    maps = {
        row: read_label(read_header(segmentation_of(folder, case.name)), labels)
        for row, folder in segmentations.items()
    }
    return voted_label(maps, settings, labels)


def voted_label(
    maps: dict[str, np.ndarray], settings: "Voting", labels: Labels = KITS19
) -> np.ndarray:
    """Label map that rows agree upon, region by region.

    By ``majority`` a voxel is in a region if more than half of the rows say so: a tie is not. By
    ``staple`` it is if the probability that STAPLE finds is above one half.

    Parameters
    ----------
    maps : dict
        Row to its label map, (z, y, x) uint8.
    settings : Voting
        Who votes on which region, and how.
    labels : Labels
        The scheme of the label maps.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8.
    """
    agreed = {}
    for region, rows in settings.regions.items():
        masks = [labels.region(region).mask(maps[row]) for row in rows]
        agreed[region] = majority(masks) if settings.by == "majority" else staple(masks)
    return labels.paint(agreed)


def majority(masks: list[np.ndarray]) -> np.ndarray:
    """Where more than half of some (z, y, x) bool masks are true."""
    votes = np.zeros_like(masks[0], np.uint8)
    for mask in masks:
        votes += mask
    return 2 * votes > len(masks)


def staple(masks: list[np.ndarray]) -> np.ndarray:
    """Where STAPLE finds a probability above one half, from some (z, y, x) bool masks."""
    box = bounding_box(reduce(np.logical_or, masks))
    if box is None or not masks[1:]:
        return masks[0].copy(order="K")
    part = slices(widened(box, [MARGIN] * 3, three(masks[0].shape)))
    images = [sitk.GetImageFromArray(mask[part].astype(np.uint8)) for mask in masks]
    probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    agreed = np.zeros_like(masks[0])
    agreed[part] = probability > 0.5
    return agreed
