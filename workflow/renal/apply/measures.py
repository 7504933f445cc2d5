"""Sizes of what was found: kidneys by their side, and every tumour."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from renal.image.boxes import bounding_box, slices
from renal.image.components import TOUCHING
from renal.image.sides import LEFT, RIGHT, UNTOLD, kidney_sides
from renal.labels import KITS19, Labels

SIDES = {RIGHT: "right", LEFT: "left", UNTOLD: "not told"}
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Measure:
    """A kidney, with what lies within it, or a lesion.

    Attributes
    ----------
    structure : str
        Name of the region; lesions are numbered, the largest first.
    side : str
        Of the patient: right, left, or not told where a component lies across the middle.
    volume_ml : float
        Of its voxels.
    largest_diameter_mm : float
        Longest distance between two points of its surface, which runs half-way between voxels.
    """

    structure: str
    side: str
    volume_ml: float
    largest_diameter_mm: float


def measure(
    label: np.ndarray, volume: np.ndarray, spacing: Spacing, labels: Labels = KITS19
) -> list[Measure]:
    """Sizes of the kidneys by their side, and of every connected lesion.

    Parameters
    ----------
    label : numpy.ndarray
        (z, y, x) uint8.
    volume : numpy.ndarray
        (z, y, x) int16, HU: the body in it tells the sides.
    spacing : tuple of float
        (z, y, x) mm.
    labels : Labels
        The scheme of the label map.
    """
    kidney, *others = labels.regions
    mask = kidney.mask(label)
    box = bounding_box(mask)
    if box is None:
        return []
    sides = kidney_sides(mask, volume, spacing)[slices(box)]
    label = label[slices(box)]
    found = [
        _measured(kidney.name, name, sides == side, spacing)
        for side, name in SIDES.items()
        if (sides == side).any()
    ]
    for region in others:
        if region.lesion:
            found += _lesions(region.name, region.mask(label), sides, spacing)
    return found


def _lesions(name: str, mask: np.ndarray, sides: np.ndarray, spacing: Spacing) -> list[Measure]:
    components, count = ndimage.label(mask, structure=TOUCHING)
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(components)
    found = []
    for number, index in enumerate(np.argsort(-sizes, kind="stable"), start=1):
        box = boxes[index]
        own = components[box] == index + 1
        side = int(np.bincount(sides[box][own]).argmax())
        found.append(_measured(f"{name} {number}", SIDES.get(side, "not told"), own, spacing))
    return found


def _measured(structure: str, side: str, mask: np.ndarray, spacing: Spacing) -> Measure:
    volume = np.count_nonzero(mask) * math.prod(spacing) / 1000
    return Measure(structure, side, round(volume, 2), round(largest_diameter(mask, spacing), 1))


def largest_diameter(mask: np.ndarray, spacing: Spacing) -> float:
    """Longest distance, mm, between two points of the surface of a (z, y, x) bool mask.

    The surface's points lie half a voxel before and behind the voxels along each axis, as the
    vertices do of the mesh by which PyRadiomics measures its Maximum3DDiameter.
    """
    box = bounding_box(mask)
    if box is None:
        return 0.0
    mask = mask[slices(box)]
    points = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    steps = np.array(spacing)
    halves = np.vstack([np.eye(3) / 2, -np.eye(3) / 2])
    surface = ((points[:, None] + halves) * steps).reshape(-1, 3)
    corners = surface[ConvexHull(surface).vertices]
    return float(pdist(corners).max())
