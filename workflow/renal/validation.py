"""Checking every file of a case once, before anything is computed from it."""

import zlib
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from renal.cases import IMAGE, LABEL, listed_spacings
from renal.errors import InputError
from renal.files import read_json, write_json
from renal.parallel import for_each
from renal.regions import largest_piece
from renal.volume import Header, read_header, read_label, read_volume

AFFINE_TOLERANCE_MM = 1e-3
SPACING_TOLERANCE_MM = 1e-2
# A CT holds air or table (below -200 HU) and tissue (above it); an image that was scaled to
# 0..255 or to 0..1 does not.
AIR_HU = -200
LARGEST_PLAUSIBLE_HU = 20000
# A table is thinner than twice this, no body is.
TABLE_MM = 10
SMALLEST_BODY = 0.01  # of the slice


@dataclass
class CheckedCase:
    """What is known of a case once its files were read.

    Attributes
    ----------
    name : str
        Case name.
    image, label : str
        Paths; label is None for an unlabelled case.
    shape : list of int
        (z, y, x) voxels of the image.
    spacing : list of float
        (z, y, x) mm.
    kidney_ml, tumour_ml : float
        Volumes of label > 0 and of label 2; None for an unlabelled case.
    checksum : str
        CRC-32 of the image and label files, so that a changed file changes this record and
        with it all that is made from it.
    fault : str
        Why the case cannot be used, as one line; empty if it can.
    notes : list of str
        What is unusual but legal.
    """

    name: str
    image: str
    label: str | None = None
    shape: list[int] | None = None
    spacing: list[float] | None = None
    kidney_ml: float | None = None
    tumour_ml: float | None = None
    checksum: str = ""
    fault: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def labelled(self) -> bool:
        return self.label is not None


def validate(
    root: Path, names: list[str], output: Path, *, maximum_voxels: int, threads: int = 1
) -> None:
    """Check some cases and write what was found, faults included, as JSON.

    Parameters
    ----------
    root : Path
        The KiTS19 folder.
    names : list of str
        Case names.
    output : Path
        JSON to write: a `CheckedCase` each.
    maximum_voxels : int
        Largest volume that is read.
    threads : int
        Cases at a time.
    """
    work = partial(
        check_case, root=root, maximum_voxels=maximum_voxels, listed=listed_spacings(root)
    )
    write_json(output, [asdict(case) for case in for_each(names, work, threads)])


def check_case(
    name: str, *, root: Path, maximum_voxels: int, listed: dict[str, Any]
) -> CheckedCase:
    """Read and check the files of one case; a fault is recorded, not raised.

    Parameters
    ----------
    name : str
        Case name. It is labelled if its folder holds a segmentation.
    root : Path
        The KiTS19 folder.
    maximum_voxels : int
        Largest volume that is read.
    listed : dict
        Case name to ``voxel_spacing``, mm, from kits.json.
    """
    folder = Path(root) / name
    case = CheckedCase(name=name, image=str(folder / IMAGE))
    labelled = (folder / LABEL).exists()
    if labelled:
        case.label = str(folder / LABEL)
    try:
        header = read_header(folder / IMAGE, maximum_voxels)
        case.shape, case.spacing = list(header.shape), list(header.spacing)
        _check_listed_spacing(header, listed.get(name))
        _check_intensities(header, read_volume(header))
        if labelled:
            _check_label(case, header, maximum_voxels)
        paths = [folder / IMAGE] + ([folder / LABEL] if labelled else [])
        case.checksum = "-".join(f"{_crc32(path):08x}" for path in paths)
    except InputError as error:
        case.fault = str(error)
    return case


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


def _check_label(case: CheckedCase, image: Header, maximum_voxels: int) -> None:
    header = read_header(Path(case.label), maximum_voxels)
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
    counts = np.bincount(read_label(header).ravel(order="K"), minlength=3)
    millilitres = counts * np.prod(image.spacing) / 1000
    case.kidney_ml = round(float(millilitres[1:].sum()), 3)
    case.tumour_ml = round(float(millilitres[2]), 3)
    if counts[1:].sum() == 0:
        raise InputError(f"{header.path}: empty label: draw it, or exclude the case")
    if counts[2] == 0:
        case.notes.append("no tumour in the label")


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum


def read_checked(path: Path) -> dict[str, CheckedCase]:
    """Read the record of a batch: name to `CheckedCase`."""
    return {entry["name"]: CheckedCase(**entry) for entry in read_json(path)}


def usable(paths: list[Path]) -> list[CheckedCase]:
    """The cases without a fault in the records of several batches, in order of name.

    Cases that are only to be segmented are left out where they have a fault.

    Raises
    ------
    InputError
        With all faults, if a labelled case has one: nothing is learned from what is left.
    """
    cases = [case for path in paths for case in read_checked(path).values()]
    refuse_labelled_faults(cases)
    return sorted((case for case in cases if not case.fault), key=lambda case: case.name)


def refuse_labelled_faults(cases: list[CheckedCase]) -> None:
    """Raise an InputError with all cases that cannot be used, if a labelled one is among them."""
    bad = [case.fault for case in cases if case.fault]
    if any(case.fault and case.labelled for case in cases):
        raise InputError(
            "\n".join(bad) + f"\n{len(bad)} of {len(cases)} cases cannot be used: mend them, "
            "or name them under data.exclude in config.yaml"
        )
