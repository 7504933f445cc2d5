"""What makes a segmentation doubtful: a CT far from those that were learned from, an odd result."""

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from renal.data.intensity_checks import check_intensities
from renal.data.posture_checks import check_posture
from renal.image.boxes import bounding_box, slices
from renal.image.components import TOUCHING
from renal.labels import KITS19, Labels

if TYPE_CHECKING:
    from renal.apply.inputs import Scan
    from renal.apply.package import Provenance

TOLERANCE = 0.01  # by which a spacing or a field may leave the range of those learned from
ALL_TUMOUR = 0.95  # of a kidney, above which nothing of it is left
# Of an axis from the body's, in degrees: slices that follow an organ or a gantry lie closer.
OBLIQUE = 15


def doubts_of_scan(scan: "Scan", provenance: "Provenance") -> list[str]:
    """How a CT differs from those that were learned from, and what is odd about its values.

    Raises
    ------
    InputError
        If its values are no Hounsfield units.
    """
    header = scan.header
    values = check_intensities(header.path, scan.volume, scan.padding, header.spacing)
    posture = check_posture(scan.volume, header.spacing)
    field = min(
        length * step for length, step in zip(header.shape[1:], header.spacing[1:], strict=True)
    )
    return [
        *scan.remarks,
        *values,
        *posture,
        *_oblique(header.affine),
        *_outside("slices", "apart", header.spacing[0], provenance.slice_spacing_mm),
        *_outside("the field of view is", "wide", field, provenance.field_of_view_mm),
    ]


def _oblique(affine: np.ndarray) -> list[str]:
    directions = affine[:3, :3] / np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    nearest = np.abs(directions).max(axis=0).min()
    degrees = float(np.degrees(np.arccos(min(nearest, 1.0))))
    if degrees <= OBLIQUE:
        return []
    return [f"the slices are {degrees:.0f} degrees from the body's axes: taken for straight ones"]


def _outside(what: str, how: str, value: float, known: tuple[float, float]) -> list[str]:
    low, high = known
    if low * (1 - TOLERANCE) <= value <= high * (1 + TOLERANCE):
        return []
    return [f"{what} {value:.4g} mm {how}: learned from {low:.4g} to {high:.4g} mm"]


def doubts_of_result(label: np.ndarray, labels: Labels = KITS19) -> list[str]:
    """What is odd about a label map, (z, y, x) uint8."""
    kidney, *others = labels.regions
    box = bounding_box(kidney.mask(label))
    if box is None:
        return [f"no {kidney.name} was found"]
    label = label[slices(box)]
    components, count = ndimage.label(kidney.mask(label), structure=TOUCHING)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    doubts = []
    for region in others:
        within = np.bincount(components[region.mask(label)], minlength=count + 1)
        full = int((within[1:] > ALL_TUMOUR * sizes[1:]).sum())
        if region.lesion and full:
            doubts.append(
                f"{full} of {count} connected {kidney.name} parts {'is' if full == 1 else 'are'} "
                f"all {region.name}: look at the CT"
            )
    return doubts
