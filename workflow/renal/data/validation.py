"""Checking every file of a case once, before anything is computed from it."""

import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from renal.data.cases import Case, find_cases, listed_spacings
from renal.errors import InputError
from renal.handover.checked import CheckedCase, write_checked
from renal.image.body import largest_piece
from renal.image.volume import Header, read_header, read_label, read_volume
from renal.labels import KITS19, Labels
from renal.parallel import for_each

AFFINE_TOLERANCE_MM = 1e-3
SPACING_TOLERANCE_MM = 1e-2
# A CT holds air or table (below -200 HU) and tissue (above it); an image that was scaled to
# 0..255 or to 0..1 does not.
AIR_HU = -200
LARGEST_PLAUSIBLE_HU = 20000
# A table is thinner than twice this, no body is.
TABLE_MM = 10
SMALLEST_BODY = 0.01  # of the slice


def validate(
    root: Path, names: list[str], output: Path, *, maximum_voxels: int, threads: int = 1
) -> None:
    """Check some cases and write what was found, faults included, as JSON.

    Parameters
    ----------
    root : Path
        The data set's folder.
    names : list of str
        Case names.
    output : Path
        JSON to write: a `CheckedCase` each.
    maximum_voxels : int
        Largest volume that is read.
    threads : int
        Cases at a time.

    Raises
    ------
    InputError
        If a case is no longer there.
    """
    cases = {case.name: case for case in find_cases(root)}
    if gone := [name for name in names if name not in cases]:
        raise InputError(f"{root}: {', '.join(gone)}: no longer there: run the workflow again")
    work = partial(check_case, maximum_voxels=maximum_voxels, listed=listed_spacings(root))
    write_checked(output, for_each([cases[name] for name in names], work, threads))


def check_case(
    case: Case, *, maximum_voxels: int, listed: dict[str, Any], labels: Labels = KITS19
) -> CheckedCase:
    """Read and check the files of one case; a fault is recorded, not raised.

    Parameters
    ----------
    case : Case
        Where its files lie.
    maximum_voxels : int
        Largest volume that is read.
    listed : dict
        Case name to ``voxel_spacing``, mm, from kits.json.
    labels : Labels
        The label values that there are.
    """
    label = None if case.label is None else str(case.label)
    checked = CheckedCase(name=case.name, image=str(case.image), label=label)
    try:
        header = read_header(case.image, maximum_voxels)
        checked.shape, checked.spacing = list(header.shape), list(header.spacing)
        _check_listed_spacing(header, listed.get(case.name))
        _check_intensities(header, read_volume(header))
        if case.label is not None:
            label_header = read_header(case.label, maximum_voxels)
            _check_label(checked, label_header, header, labels)
        checked.checksum = "-".join(f"{_crc32(path):08x}" for path in case.files)
    except InputError as error:
        checked.fault = str(error)
    return checked


def _check_listed_spacing(header: Header, listed: Any) -> None:
    if not listed:
        return
    try:
        expected = [float(listed[f"{axis}_spacing"]) for axis in "zyx"]
        agrees = np.allclose(expected, header.spacing, atol=SPACING_TOLERANCE_MM)
    except (KeyError, TypeError, ValueError):
        agrees = False
    if not agrees:
        raise InputError(
            f"{header.path}: spacing {tuple(round(s, 4) for s in header.spacing)} mm (z, y, x), "
            f"but kits.json says {listed}: mend the header or kits.json"
        )


def _check_intensities(header: Header, volume: np.ndarray) -> None:
    path = header.path
    smallest, largest = int(volume.min()), int(volume.max())
    if smallest == largest:
        raise InputError(f"{path}: every voxel is {smallest}: export the image again")
    if smallest > AIR_HU or largest < AIR_HU or largest > LARGEST_PLAUSIBLE_HU:
        raise InputError(
            f"{path}: values {smallest} to {largest} are not Hounsfield units: "
            "export the CT without rescaling"
        )
    # The middle slice is where the body is looked for; a volume of air and table has none.
    middle = volume[len(volume) // 2]
    if largest_piece(middle > AIR_HU, header.spacing, TABLE_MM).mean() < SMALLEST_BODY:
        raise InputError(f"{path}: no body in the middle slice: exclude the case")


def _check_label(case: CheckedCase, header: Header, image: Header, labels: Labels) -> None:
    if header.file_shape != image.file_shape:
        raise InputError(
            f"{header.path}: shape {header.file_shape}, but the image has {image.file_shape}: "
            "use the label that belongs to the image"
        )
    difference = np.abs(header.affine - image.affine).max()
    if difference > AFFINE_TOLERANCE_MM:
        raise InputError(
            f"{header.path}: its affine differs from the image's by {difference:.3g}: "
            "resample the label onto the image, or copy the image's header"
        )
    counts = np.bincount(read_label(header, labels).ravel(order="K"), minlength=labels.count)
    millilitres = counts * np.prod(image.spacing) / 1000
    for region in labels.regions:
        voxels = counts[list(region.labels)].sum()
        volume = float(millilitres[list(region.labels)].sum())
        case.volumes_ml[region.name] = round(volume, 3)
        if voxels == 0:
            case.notes.append(f"no {region.name} in the label")
    if counts[1:].sum() == 0:
        raise InputError(f"{header.path}: empty label: draw it, or exclude the case")


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum
