"""Whether the numbers of an image are Hounsfield units: air, tissue and the body say so.

In Hounsfield units air is at -1000 and all soft tissue within 150 of 0; a histogram shows a lost
intercept, another slope or a sign. `docs/decisions.md` has the measurements behind the limits.
"""

from pathlib import Path

import numpy as np

from renal.errors import InputError
from renal.image.body import largest_piece
from renal.image.volume import AIR_HU, PADDING_HU, Padding

# A CT holds air or table (below) and tissue (above).
TISSUE_HU = -200
# A table is thinner than twice this, no body is.
TABLE_MM = 10
SMALLEST_BODY = 0.01  # of the slice
PIXEL_MM = 2  # the body is looked for on pixels of so much: finer ones cost time and tell no more
BODY_MM = (130, 650)  # height and width of a body's outline on the middle slice
LENGTH_MM = (80, 2000)  # of the scan
# The commonest value between padding and fat, where that range holds enough voxels to have one.
GAS_HU, GAS_SHARE = -300, 0.05
AIR_LIMIT, AIR_REMARK = -650, -840  # lungs, where the field holds no other air, are at -850
SCATTERED_LIMIT = 0.05  # of all voxels: padding has one value
BELOW_AIR_HU = -1100
BELOW_AIR_LIMIT, BELOW_AIR_REMARK = 0.02, 0.005  # of all voxels
DENSE_HU = 400
DENSE_LIMIT, DENSE_REMARK = 0.25, 0.15  # of the tissue
MEDIAN_LIMIT, MEDIAN_REMARK = 200, 130  # of the tissue, on both sides of 0
# Soft metal is at 8,000; 12 bits end at 3071.
METAL_HU = 20000
# Values that a window has cut pile up at its ends, which lie within these.
WINDOW_HU, CUT_LOW, CUT_HIGH = (-700, 1000), 0.05, 0.01  # shares of all voxels
FILLED = 0.05  # share of all voxels that no tissue's value has
NORMALIZED = 20  # standard deviations, which no voxel is beyond
SAMPLED = 96  # voxels along an axis, at least


def check_intensities(
    path: Path, volume: np.ndarray, padding: Padding, spacing: tuple[float, float, float]
) -> list[str]:
    """Remarks on an image's values.

    Parameters
    ----------
    path : Path
        The image's file, for messages.
    volume : numpy.ndarray
        (z, y, x) int16, with padding taken for air.
    padding : Padding
        What was.
    spacing : tuple of float
        (z, y, x) mm.

    Raises
    ------
    InputError
        If the values are no Hounsfield units, or show no body.
    """
    smallest = int(volume.min()) if padding.voxels else padding.least
    largest = int(volume.max())
    if smallest == largest:
        raise InputError(
            f"{path}: every voxel is {smallest} in whole HU: export the CT again, without rescaling"
        )
    if smallest > TISSUE_HU or largest < TISSUE_HU:
        raise _not_hounsfield(path, f"values {smallest} to {largest}{_likeness(smallest, largest)}")
    remarks = []
    if padding.scattered > SCATTERED_LIMIT * volume.size:
        raise _not_hounsfield(
            path, f"{padding.scattered} voxels from {padding.least} to {PADDING_HU}"
        )
    if padding.voxels:
        remarks.append(
            f"{padding.voxels} voxels of padding (below {PADDING_HU} HU, least {padding.least}) "
            f"are taken for air, {AIR_HU} HU"
        )
    if largest > METAL_HU:
        remarks.append(f"values up to {largest} HU: metal?")
    remarks += _scale(path, volume)
    return remarks + _body(path, volume, spacing)


def _likeness(smallest: int, largest: int) -> str:
    """What a range of values without air or tissue looks like."""
    if max(-smallest, largest) <= NORMALIZED:
        return ", as if scaled to 0..1 or normalized"
    if smallest >= 0 and largest <= 255:
        return ", as if scaled to 8 bits"
    return ", as if shifted by 1024" if smallest >= 0 and largest > -AIR_HU else ""


def _not_hounsfield(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: {why}: not Hounsfield units: export the CT without rescaling, or exclude the case"
    )


def _scale(path: Path, volume: np.ndarray) -> list[str]:
    """Air, tissue and what has no place in a CT, on a histogram of a sample."""
    # Odd, so that of slices, rows or columns that alternate both are looked at.
    steps = [max(1, length // SAMPLED - 1 | 1) for length in volume.shape]
    sample = volume[tuple(slice(None, None, step) for step in steps)].ravel(order="K")
    counts = np.bincount(np.subtract(sample, PADDING_HU, dtype=np.intp))
    values = np.arange(len(counts)) + PADDING_HU
    remarks = []

    def judge(words: str, impossible: bool, doubtful: bool) -> None:
        if impossible:
            raise _not_hounsfield(path, words)
        if doubtful:
            remarks.append(words)

    below = counts[values < BELOW_AIR_HU].sum() / sample.size
    judge(
        f"{100 * below:.1f} % of the voxels are below {BELOW_AIR_HU}, where nothing is",
        below > BELOW_AIR_LIMIT,
        below > BELOW_AIR_REMARK,
    )
    tissue = counts[values > TISSUE_HU]
    if not tissue.any():
        raise InputError(
            f"{path}: next to nothing is above {TISSUE_HU} HU, as a body is: export the CT again, "
            "or exclude the case"
        )
    dense = counts[values > DENSE_HU].sum() / tissue.sum()
    judge(
        f"{100 * dense:.0f} % of the tissue is above {DENSE_HU}, as only bone is",
        dense > DENSE_LIMIT,
        dense > DENSE_REMARK,
    )
    median = TISSUE_HU + 1 + int(np.searchsorted(tissue.cumsum(), tissue.sum() / 2))
    judge(
        f"the median of the tissue is {median}, of fat and muscle it is about 0",
        abs(median) > MEDIAN_LIMIT,
        abs(median) > MEDIAN_REMARK,
    )
    present = np.flatnonzero(counts)
    low, high = present[values[present] > WINDOW_HU[0]][0], present[-1]
    for end, limit in ((low, CUT_LOW), (high, CUT_HIGH)):
        share = counts[end] / sample.size
        judge(
            f"{100 * share:.0f} % of the voxels are {values[end]} HU, as if cut to a window",
            False,
            share > limit and values[end] < WINDOW_HU[1],
        )
    between = counts[low + 1 : high]
    if between.size:
        share, filled = between.max() / sample.size, values[low + 1 + int(between.argmax())]
        judge(
            f"{100 * share:.0f} % of the voxels are {filled} HU, as if filled",
            False,
            share > FILLED,
        )
    gas = counts[(values > AIR_HU) & (values < GAS_HU)]
    if gas.sum() > GAS_SHARE * sample.size:
        air = AIR_HU + 1 + 10 * int(_by_tens(gas).argmax())
        words = f"air is at {air}, not at -1000"
        judge(words, air > AIR_LIMIT, air > AIR_REMARK)
    return remarks


def _by_tens(counts: np.ndarray) -> np.ndarray:
    """Sums of ten neighbours, so that noise does not choose the commonest value."""
    return np.add.reduceat(counts, np.arange(0, len(counts), 10))


def _body(path: Path, volume: np.ndarray, spacing: tuple[float, float, float]) -> list[str]:
    """The body on the middle slice, where it is looked for; its size doubts the spacing."""
    down, across = (max(1, int(PIXEL_MM // step)) for step in spacing[1:])
    middle = volume[len(volume) // 2, ::down, ::across]
    coarse = (spacing[0], down * spacing[1], across * spacing[2])
    body = largest_piece(middle > TISSUE_HU, coarse, TABLE_MM)
    if body.mean() < SMALLEST_BODY:
        sizes = ", ".join(f"{step:.3g}" for step in spacing)
        raise InputError(
            f"{path}: no body in the middle slice: mend the spacing, if ({sizes}) mm (z, y, x) is "
            "wrong, or exclude the case"
        )
    height, width = (
        float(np.ptp(np.flatnonzero(body.any(axis=axis))) + 1) * step
        for axis, step in zip((1, 0), coarse[1:], strict=True)
    )
    remarks = []
    if min(height, width) < BODY_MM[0] or max(height, width) > BODY_MM[1]:
        remarks.append(f"the body measures {height:.0f} x {width:.0f} mm: is the spacing right?")
    length = len(volume) * spacing[0]
    if not LENGTH_MM[0] <= length <= LENGTH_MM[1]:
        remarks.append(f"the scan is {length:.0f} mm long: is the spacing right?")
    return remarks
