"""Predictions: the probabilities of a stage's maps in each of a case's regions.

A folder of predictions holds ``cases.json`` (as prepared folders do) and ``<case>.npz`` with, for
each region, the probabilities of the target's maps in 8 bits, cropped to where they are not zero.
"""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.files import replacing
from renal.handover.prepared import PreparedCase, entry_of, read_index
from renal.image.boxes import Box, bounding_box, inside, joined, slices, three, whole_volume
from renal.image.grids import to_native

if TYPE_CHECKING:
    from renal.handover.checked import CheckedCase

LEVELS = 255  # 8 bits: probabilities are kept to 0.4 %
FOREGROUND = 0.5
# What numpy raises for an archive that is cut off, empty or altered.
DAMAGED = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)

# A case's regions and its (maps, z, y, x) float32 probabilities in each.
StageProbabilities = tuple[PreparedCase, list[np.ndarray]]


def write_probabilities(folder: Path, case: PreparedCase, maps: list[np.ndarray]) -> None:
    """Store a case's probabilities, (maps, z, y, x) float for each region, in 8 bits."""
    arrays = {}
    for number, probability in enumerate(maps):
        levels = _levels(probability)
        box = bounding_box(np.any(levels, axis=0)) or ((0, 0),) * 3
        arrays[f"box{number}"] = np.array(box)
        arrays[f"levels{number}"] = levels[:, *slices(box)]
        arrays[f"size{number}"] = np.array(levels.shape)
    with replacing(folder / f"{case.name}.npz") as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def _levels(probability: np.ndarray) -> np.ndarray:
    """Probabilities in 8 bits; slice by slice, because a region may be most of a scan."""
    levels = np.empty(probability.shape, np.uint8)
    for number in range(probability.shape[1]):
        levels[:, number] = np.rint(probability[:, number] * LEVELS)
    return levels


def as_stored(probability: np.ndarray) -> np.ndarray:
    """Probabilities, (maps, z, y, x) float32, as they are read again after 8 bits: in place."""
    np.divide(_levels(probability), np.float32(LEVELS), out=probability)
    return probability


def read_probabilities(folder: Path, case: PreparedCase) -> list[np.ndarray]:
    """A case's probabilities: (maps, z, y, x) float32 on the stage's grid for each region."""
    path = Path(folder) / f"{case.name}.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            maps = []
            for number in range(len(case.boxes)):
                probability = np.zeros(arrays[f"size{number}"], np.float32)
                box = three((low, high) for low, high in arrays[f"box{number}"].tolist())
                probability[:, *slices(box)] = arrays[f"levels{number}"] / np.float32(LEVELS)
                maps.append(probability)
            return maps
    except DAMAGED as error:
        raise InputError(
            f"{path}: missing or damaged ({error}): delete the folder {folder} "
            "and run the workflow again"
        ) from error


def mean_probabilities(folders: list[Path], case: str) -> StageProbabilities:
    """A case's regions and probabilities, averaged voxel by voxel over folders of predictions.

    Raises
    ------
    InputError
        If the case is missing in one of them, or lies elsewhere.
    """
    entries = [entry_of(read_index(folder), folder, case) for folder in folders]
    if any(entry.boxes != entries[0].boxes for entry in entries):
        raise InputError(
            f"{folders[0]}: {case} covers another part of the scan than in "
            f"{', '.join(map(str, folders[1:]))}: delete these folders and run the workflow again"
        )
    pairs = zip(folders, entries, strict=True)
    return entries[0], averaged(read_probabilities(folder, entry) for folder, entry in pairs)


def averaged(predictions: Iterable[list[np.ndarray]]) -> list[np.ndarray]:
    """Mean of several predictions, voxel by voxel in each region; the first is written over."""
    several = iter(predictions)
    total, count = next(several), 1
    for maps in several:
        count += 1
        for region, added in zip(total, maps, strict=True):
            region += added
    for region in total:
        region /= count
    return total


def native_mask(probabilities: list[np.ndarray], case: PreparedCase) -> np.ndarray:
    """Foreground on the native grid: probabilities interpolated back, then thresholded.

    Parameters
    ----------
    probabilities : list of numpy.ndarray
        (z, y, x) float32 of each region; (z, 1, 1) for what is known of slices alone. Where
        regions overlap, the larger probability counts.
    case : PreparedCase
        Boxes of the regions, and shape of the native volume.

    Returns
    -------
    numpy.ndarray
        (z, y, x) bool of the native shape, z fastest in memory as in KiTS19's files.
    """
    mask = np.zeros(case.shape, bool, order="F")
    for native, box in native_parts(probabilities, case):
        mask[slices(box)] |= native > FOREGROUND
    return mask


def native_parts(
    probabilities: list[np.ndarray], case: PreparedCase
) -> Iterator[tuple[np.ndarray, Box]]:
    """What each region says of native voxels, and where in the volume; it is zero elsewhere.

    Parameters
    ----------
    probabilities, case
        As for `native_mask`.

    Yields
    ------
    native : numpy.ndarray
        (z, y, x) float32, probabilities interpolated back; (z, 1, 1) for what is known of slices
        alone.
    box : Box
        The native voxels.
    """
    for probability, box in zip(probabilities, case.boxes, strict=True):
        if probability.shape[1:] == (1, 1):
            rows, *_ = box
            column, column_box = to_native(probability, (rows, (0, 1), (0, 1)))
            column, _ = _within(column, column_box, (case.shape[0], 1, 1))
            yield column, inside(box, case.shape)
            continue
        window = bounding_box(probability)
        if window is not None:
            yield _within(*to_native(probability, box, window), case.shape)


def _within(native: np.ndarray, box: Box, shape: tuple[int, int, int]) -> tuple[np.ndarray, Box]:
    """The part of an array at `box` that lies in a volume of `shape`, and its box."""
    cut = inside(box, shape)
    start = [low for low, _ in box]
    part = three((low - s, high - s) for (low, high), s in zip(cut, start, strict=True))
    return native[slices(part)], cut


def native_mask_of(folder: Path, case: "CheckedCase") -> tuple[np.ndarray, Box]:
    """Native mask of the first map of a case from a folder of predictions, and what was looked at.

    Returns
    -------
    mask : numpy.ndarray
        (z, y, x) bool.
    extent : Box
        The box round all regions, cut at the volume; the whole volume if there was none.
    """
    prepared = entry_of(read_index(folder), folder, case.name)
    return first_mask(read_probabilities(folder, prepared), prepared)


def first_mask(maps: list[np.ndarray], case: PreparedCase) -> tuple[np.ndarray, Box]:
    """As `native_mask_of`, from the (maps, z, y, x) float32 probabilities of each region."""
    mask = native_mask([region[0] for region in maps], case)
    boxes = case.boxes or [whole_volume(case.shape)]
    return mask, inside(joined(boxes), case.shape)
