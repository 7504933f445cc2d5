"""Whether a scan lies as its header says: lungs above, spine behind, liver on the right.

Looked for on a grid of 4 mm, where noise averages out and a scan costs a twentieth of a second.
What does not show, as lungs in a scan that begins below them, says nothing. `docs/decisions.md` has
the measurements behind the limits.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from renal.image.body import largest_piece
from renal.image.boxes import three

GRID_MM = 4.0
SLAB = 8  # columns smoothed at a time, which stay in a core's cache
TISSUE_HU, TABLE_MM = -200, 10  # as where the values are checked
AIR_HU, LUNG_HU = -400, (-950, -500)
IN_SLICE = np.zeros((3, 3, 3), bool)
IN_SLICE[1] = ndimage.generate_binary_structure(2, 1)
# Of a slice's body: what bowel gas does not fill, and what leaves no room for a liver.
LUNG_SHARE, NO_LIVER_SHARE = 0.15, 0.1
LUNG_ML, LUNG_RATIO = 300, 4  # below the scan's middle; as a multiple of what is above
BONE_HU, MIDLINE_MM, BONE_ML, SPINE_SHARE = 200, 40, 30, 0.2
# Solid all around within 20 mm: liver, and less of whatever else there is.
SOLID_HU, SOLID_MM = (10, 250), 20
LIVER_ML, LIVER_RATIO, LIVER_DEPTH = 200, 2, 0.6
FLANK_MM = 120  # from the midline to the edge of the image: less may leave the liver out


@dataclass(frozen=True)
class Sample:
    """A scan on the coarse grid.

    Attributes
    ----------
    hu : numpy.ndarray
        (z, y, x) float32, smoothed; axes run towards the feet, the back and the left.
    steps_mm : tuple of float
        (z, y, x) mm.
    """

    hu: np.ndarray
    steps_mm: tuple[float, float, float]

    @property
    def voxel_ml(self) -> float:
        return float(np.prod(self.steps_mm)) / 1000


def check_posture(volume: np.ndarray, spacing: tuple[float, float, float]) -> list[str]:
    """A remark, if organs lie on other sides than the header says.

    Parameters
    ----------
    volume : numpy.ndarray
        (z, y, x) int16, HU; by its header, axes run towards the feet, the back and the left.
    spacing : tuple of float
        (z, y, x) mm.
    """
    every = [max(1, round(GRID_MM / step)) for step in spacing]
    hu = smoothed(volume[tuple(slice(None, None, step) for step in every)])
    steps = three(n * step for n, step in zip(every, spacing, strict=True))
    sample = Sample(hu, steps)
    lungs = _lungs(sample)
    middle = _midline(sample)
    liver = _liver(sample, lungs, middle)
    found = [*_spine_in_front(sample, middle), *_upside_down(sample, lungs, liver)]
    if liver.sum() < 0:
        found.append("the liver is on the left")
    if not found:
        return []
    return [f"by the header {' and '.join(found)}: is the scan turned or mirrored?"]


def _lungs(sample: Sample) -> np.ndarray:
    """(z, y, x) bool: air in the body that is as dense as lungs, slice by slice."""
    pieces, count = ndimage.label(np.ascontiguousarray(sample.hu < AIR_HU), IN_SLICE)
    outside = np.zeros(count + 1, bool)
    for edge in (pieces[:, 0], pieces[:, -1], pieces[:, :, 0], pieces[:, :, -1]):
        outside[edge] = True
    least, most = LUNG_HU
    lungs = np.ascontiguousarray((sample.hu > least) & (sample.hu < most))  # as the pieces lie
    lungs[lungs] = ~outside[pieces[lungs]]
    return lungs


def _share(sample: Sample, lungs: np.ndarray) -> np.ndarray:
    """(z,) how much of the body is lung, slice by slice."""
    area = lungs.sum((1, 2))
    return np.asarray(area / np.maximum(area + (sample.hu > TISSUE_HU).sum((1, 2)), 1))


def _upside_down(sample: Sample, lungs: np.ndarray, liver: np.ndarray) -> list[str]:
    """By the lungs, or where they are not in the scan by the liver."""
    half = len(lungs) // 2
    above, below = (part.sum() * sample.voxel_ml for part in (lungs[:half], lungs[-half:]))
    if below > max(LUNG_ML, LUNG_RATIO * above):
        wide = _share(sample, lungs)[half:].max() > LUNG_SHARE
        return ["the lungs are below"] if wide else []
    if above > LUNG_ML or not liver.any():
        return []
    one_side = np.maximum(liver * np.sign(liver.sum()), 0)
    depth = np.average(np.arange(len(liver)) + 0.5, weights=one_side) / len(liver)
    return ["the liver is below"] if depth > LIVER_DEPTH else []


def _spine_in_front(sample: Sample, middle: float | None) -> list[str]:
    body = largest_piece(sample.hu[len(sample.hu) // 2] > TISSUE_HU, sample.steps_mm, TABLE_MM)
    if middle is None or not body.any():
        return []
    rows = np.flatnonzero(body.any(axis=1))
    near = np.abs(np.arange(sample.hu.shape[2]) - middle) * sample.steps_mm[2] <= MIDLINE_MM
    bone = (sample.hu[:, rows[0] : rows[-1] + 1, near] > BONE_HU).sum((0, 2))
    behind = bone[len(bone) // 2 :].sum()
    if bone.sum() * sample.voxel_ml < BONE_ML or behind > SPINE_SHARE * bone.sum():
        return []
    return ["the spine is in front"]


def _midline(sample: Sample) -> float | None:
    """The column of the spine, half of whose slices have their bone's median on either side."""
    columns = np.arange(sample.hu.shape[2])
    counts = (sample.hu > BONE_HU).sum(1)
    medians = [np.median(np.repeat(columns, row)) for row in counts if row.any()]
    return float(np.median(medians)) if medians else None


def _liver(sample: Sample, lungs: np.ndarray, middle: float | None) -> np.ndarray:
    """(z,) ml of what is solid on the right beyond that on the left; zeros if that is no liver."""
    none = np.zeros(len(lungs))
    columns = np.arange(sample.hu.shape[2])
    if middle is None:
        return none
    if min(middle, columns[-1] - middle) * sample.steps_mm[2] < FLANK_MM:
        return none
    least, most = SOLID_HU
    solid = (sample.hu > least) & (sample.hu < most)
    core = eroded(solid, [2 * round(SOLID_MM / step) + 1 for step in sample.steps_mm])
    core[_share(sample, lungs) > NO_LIVER_SHARE] = False  # the heart is on the left
    right, left = (core[:, :, side].sum((1, 2)) for side in (columns < middle, columns > middle))
    surplus = (right - left) * sample.voxel_ml
    small, large = sorted((right.sum(), left.sum()))
    told = abs(surplus.sum()) > LIVER_ML and large > LIVER_RATIO * small
    return surplus if told else none


def smoothed(sample: np.ndarray) -> np.ndarray:
    """Means of 3 x 3 x 3 voxels, faster than `scipy.ndimage.uniform_filter`.

    Parameters
    ----------
    sample : numpy.ndarray
        (z, y, x) int16; beyond its edges lies what lies on them.

    Returns
    -------
    numpy.ndarray
        (z, y, x) float32.
    """
    means = np.empty(sample.shape, np.float32, order="F")
    columns = sample.shape[2]
    for first in range(0, columns, SLAB):
        last = min(first + SLAB, columns)
        slab = sample[:, :, max(first - 1, 0) : last + 1].astype(np.float32)
        total = np.pad(slab, ((1, 1), (1, 1), (first == 0, last == columns)), "edge")
        total = total[:-2] + total[1:-1] + total[2:]
        total = total[:, :-2] + total[:, 1:-1] + total[:, 2:]
        total = total[:, :, :-2] + total[:, :, 1:-1] + total[:, :, 2:]
        np.divide(total, np.float32(27), out=means[:, :, first:last])
    return means


def eroded(mask: np.ndarray, lengths: list[int]) -> np.ndarray:
    """Where a box is all marked, faster than `scipy.ndimage.minimum_filter`.

    Parameters
    ----------
    mask : numpy.ndarray
        (z, y, x) bool; beyond it nothing is marked.
    lengths : list of int
        The box's voxels along each axis, odd.

    Returns
    -------
    numpy.ndarray
        (z, y, x) bool: whether all of the box that has its middle there is marked.
    """
    marked = np.pad(mask, [(length // 2, length // 2) for length in lengths])
    for axis, length in enumerate(lengths):
        lines = np.moveaxis(marked, axis, 0)
        reach = 1  # voxels that each one stands for
        while reach < length:
            step = min(reach, length - reach)
            lines = lines[:-step] & lines[step:]
            reach += step
        marked = np.moveaxis(lines, 0, axis)
    return marked
