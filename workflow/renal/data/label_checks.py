"""Whether a label belongs to its image: it lies in the same place, and on tissue.

`docs/decisions.md` has the measurements behind the limits.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from renal.errors import InputError
from renal.image.boxes import Box, bounding_box, slices, three
from renal.image.components import TOUCHING
from renal.image.volume import Header
from renal.labels import Labels

AFFINE_TOLERANCE_MM = 1e-3
# Parenchyma with and without contrast is within these; fat, air and bone are not.
SOFT_HU = (-50, 500)
SOFT_LIMIT, SOFT_REMARK = 0.7, 0.92
# Below it are air and lung, which no lesion is full of either.
AIR_HU, AIR_LIMIT = -300, 0.3
KIDNEY_LIMIT_ML, KIDNEY_REMARK_ML = (1, 6000), (60, 3000)
ENDS = (("upper", "lower"), ("front", "back"), ("right", "left"))  # of the axes z, y and x
APART_MM = 10  # of a lesion from the nearest kidney, from which it is told
PIECES_MM = 2  # the grid on which pieces are looked for
CHUNK = 1 << 22  # voxels counted at a time: a count makes eight bytes of each


@dataclass(frozen=True)
class Content:
    """What a label marks.

    Attributes
    ----------
    volumes_ml : dict of str to float
        Volume of each region by its name.
    remarks : list of str
        What is unusual but legal.
    """

    volumes_ml: dict[str, float]
    remarks: list[str]


def check_place(header: Header, image: Header) -> None:
    """Raise an InputError unless label and image have the same voxels, in whatever axis order."""
    if header.shape != image.shape:
        raise InputError(
            f"{header.path}: shape {header.shape} (z, y, x), but the image has {image.shape}: "
            "use the label that belongs to the image"
        )
    difference = np.abs(header.standard_affine - image.standard_affine).max()
    if difference > AFFINE_TOLERANCE_MM:
        raise InputError(
            f"{header.path}: its affine differs from the image's by {difference:.3g}: use the "
            "label that belongs to the image, or resample it onto the image"
        )


def check_content(header: Header, label: np.ndarray, volume: np.ndarray, labels: Labels) -> Content:
    """Volumes of the regions, and whether the label lies on tissue.

    Parameters
    ----------
    header : Header
        The label's.
    label : numpy.ndarray
        (z, y, x) uint8.
    volume : numpy.ndarray
        (z, y, x) int16, HU.
    labels : Labels
        The label values that there are.

    Raises
    ------
    InputError
        If the label is empty, of an impossible size, or lies where no kidney can be.
    """
    box = bounding_box(label)
    if box is None:
        raise InputError(f"{header.path}: empty label: draw it, or exclude the case")
    parenchyma = labels.own_value(labels.regions[0])
    counts, soft, air = _count(label[slices(box)], volume[slices(box)], labels.count)
    millilitres = counts * np.prod(header.spacing) / 1000
    regions = {
        region.name: round(float(millilitres[list(region.labels)].sum()), 3)
        for region in labels.regions
    }
    remarks = [f"no {name} in the label" for name, volume_ml in regions.items() if not volume_ml]
    kidney = labels.regions[0]
    volume_ml = regions[kidney.name]
    words = f"{kidney.name} of {volume_ml:.0f} ml"
    if not KIDNEY_LIMIT_ML[0] <= volume_ml <= KIDNEY_LIMIT_ML[1]:
        raise InputError(f"{header.path}: {words}: mend the label or exclude the case")
    if not KIDNEY_REMARK_ML[0] <= volume_ml <= KIDNEY_REMARK_ML[1]:
        remarks.append(words)
    marked = list(kidney.labels)
    # Of the parenchyma alone where there is any, since lesions may hold fat or chalk.
    judged, named = ([parenchyma], "parenchyma") if counts[parenchyma] else (marked, kidney.name)
    if not counts[parenchyma]:
        remarks.append("no parenchyma in the label: are its values right?")
    share = soft[judged].sum() / counts[judged].sum()
    least, most = SOFT_HU
    words = f"{100 * share:.0f} % of the {named} is soft tissue ({least} to {most} HU)"
    advice = "turned, moved or another patient's? use the label that belongs to the image"
    if share < SOFT_LIMIT:
        raise InputError(f"{header.path}: only {words}: {advice}")
    if (share_of_air := air[marked].sum() / counts[marked].sum()) > AIR_LIMIT:
        words = f"{100 * share_of_air:.0f} % of the {kidney.name} is air (below {AIR_HU} HU)"
        raise InputError(f"{header.path}: {words}: {advice}")
    if share < SOFT_REMARK:
        remarks.append(f"only {words}: is the label in its place?")
    remarks += _cut_off(box, label.shape, kidney.name)
    remarks += _apart(label, box, header.spacing, parenchyma, labels)
    return Content(regions, remarks)


def _cut_off(box: Box, shape: tuple[int, ...], kidney: str) -> list[str]:
    """A remark, if the kidneys' bounding box reaches an edge of the scan."""
    touched = [
        end
        for ends, sides, length in zip(ENDS, box, shape, strict=True)
        for end, touches in zip(ends, (sides[0] == 0, sides[1] == length), strict=True)
        if touches
    ]
    if not touched:
        return []
    edges = f"{' and '.join(touched)} edge{'s' if len(touched) > 1 else ''}"
    return [f"the {kidney} touches the {edges} of the scan: what lies beyond is missing"]


def _apart(
    label: np.ndarray,
    box: Box,
    spacing: tuple[float, float, float],
    parenchyma: int,
    labels: Labels,
) -> list[str]:
    """A remark for each connected piece of lesions that lies off all kidneys.

    A kidney is a piece with parenchyma. Pieces are those of a coarse grid, whose voxels are marked
    where any of theirs is: what it joins wrongly is nearer than the limit.
    """
    every = [max(1, int(PIECES_MM // step)) for step in spacing]
    start = [low for low, _ in box]
    inner = label[slices(box)]
    pieces, count = ndimage.label(_coarse(inner > 0, every), TOUCHING)
    kidneys = np.zeros(count + 1, bool)
    kidneys[pieces[_coarse(inner == parenchyma, every)]] = True
    others = [number for number in range(1, count + 1) if not kidneys[number]]
    if not others or not kidneys.any():
        return []
    steps = three(n * step for n, step in zip(every, spacing, strict=True))
    gaps = ndimage.minimum(
        ndimage.distance_transform_edt(~kidneys[pieces], sampling=steps), pieces, others
    )
    remarks = []
    for number, gap in zip(others, gaps, strict=True):
        if gap > APART_MM:
            voxels = np.argwhere(_fine(pieces == number, every, inner.shape) & (inner > 0))
            tissue = labels.tissues[int(np.bincount(inner[tuple(voxels.T)]).argmax())]
            millilitres = len(voxels) * np.prod(spacing) / 1000
            place = [round(low) for low in (voxels.mean(0) + start).tolist()]
            remarks.append(
                f"{tissue} of {millilitres:.2g} ml about voxel {tuple(place)} (z, y, x) lies "
                f"{gap:.0f} mm from any kidney: is it one?"
            )
    return remarks


def _coarse(mask: np.ndarray, every: list[int]) -> np.ndarray:
    """Whether any of so many voxels along each axis is marked."""
    for axis, n in enumerate(every):
        lines = np.moveaxis(mask, axis, 0)
        found = lines[::n].copy(order="K")
        for first in range(1, n):  # faster than `logical_or.reduceat`
            part = lines[first::n]
            found[: len(part)] |= part
        mask = np.moveaxis(found, 0, axis)
    return mask


def _fine(mask: np.ndarray, every: list[int], shape: tuple[int, ...]) -> np.ndarray:
    """A coarse mask on the voxels that it was made of."""
    for axis, n in enumerate(every):
        mask = mask.repeat(n, axis)
    return mask[tuple(map(slice, shape))]


def _count(
    label: np.ndarray, volume: np.ndarray, values: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxels of each label value but 0, those of them that are soft tissue, and that are air."""
    counts, soft, air = (np.zeros(values, np.int64) for _ in range(3))
    thickness = max(1, CHUNK // (label.shape[0] * label.shape[1]))
    for first in range(0, label.shape[2], thickness):
        part = np.s_[:, :, first : first + thickness]
        # A mask picks in C order: turned, that is the order in memory.
        hu, marked = volume[part].T, label[part].T
        inside = marked > 0
        hu, marked = hu[inside], marked[inside]
        counts += np.bincount(marked, minlength=values)
        soft += np.bincount(marked[(hu >= SOFT_HU[0]) & (hu <= SOFT_HU[1])], minlength=values)
        air += np.bincount(marked[hu < AIR_HU], minlength=values)
    return counts, soft, air
