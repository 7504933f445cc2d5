"""Prepared cases: what a stage sees, by region.

A folder of prepared cases holds ``cases.json`` (a `PreparedCase` each) and, for a case and each of
its regions, ``<case>.<region>.image.npy`` and ``<case>.<region>.label.npy``.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from renal.errors import InputError
from renal.files import read_array, read_json, write_json
from renal.image.boxes import Box, three


@dataclass(frozen=True)
class PreparedCase:
    """Where the arrays of a prepared case lie in its native volume.

    Attributes
    ----------
    name : str
        Case name.
    shape : tuple of int
        (z, y, x) voxels of the native volume.
    boxes : list of Box
        Native box of each region, in voxels. Empty if a region stage found nothing to look at.
    slack : list of Box
        For true regions that are moved about in training: how many grid voxels of each region's
        array lie before and behind the region proper, for each axis.
    """

    name: str
    shape: tuple[int, int, int]
    boxes: list[Box]
    slack: list[Box] = field(default_factory=list)


def write_index(folder: Path, cases: list[PreparedCase]) -> None:
    """Write what `read_index` reads."""
    write_json(folder / "cases.json", [asdict(case) for case in cases])


def read_index(folder: Path) -> dict[str, PreparedCase]:
    """The cases of a prepared folder by name.

    Raises
    ------
    InputError
        If the index is missing or damaged.
    """
    path = Path(folder) / "cases.json"
    try:
        return {
            entry["name"]: PreparedCase(
                entry["name"], three(entry["shape"]), _boxes(entry["boxes"]), _boxes(entry["slack"])
            )
            for entry in read_json(path)
        }
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: missing or damaged: delete the folder {folder} and run the workflow again"
        ) from error


def _boxes(stored: Any) -> list[Box]:
    return [three((low, high) for low, high in box) for box in stored]


def entry_of(index: dict[str, PreparedCase], folder: Path, case: str) -> PreparedCase:
    """A case's entry in the index of a folder.

    Raises
    ------
    InputError
        If there is none.
    """
    if case not in index:
        raise InputError(
            f"{folder}: {case} is missing: delete the folder and run the workflow again"
        )
    return index[case]


def read_images(folder: Path, case: PreparedCase) -> list[np.ndarray]:
    """Memory-mapped float16 (int16 before normalisation) image of each region, (z, y, x)."""
    return [read_array(image_file(folder, case.name, n)) for n in range(len(case.boxes))]


def read_labels(folder: Path, case: PreparedCase) -> list[np.ndarray]:
    """Memory-mapped uint8 label of each region, (z, y, x).

    Raises
    ------
    InputError
        If the case has no label.
    """
    paths = [label_file(folder, case.name, n) for n in range(len(case.boxes))]
    for path in paths:
        if not path.exists():
            raise InputError(
                f"{path}: missing: delete the folder {path.parent} and run the workflow again"
            )
    return [read_array(path) for path in paths]


def image_file(folder: Path, case: str, region: int) -> Path:
    """Path of a region's image."""
    return Path(folder) / f"{case}.{region}.image.npy"


def label_file(folder: Path, case: str, region: int) -> Path:
    """Path of a region's label."""
    return Path(folder) / f"{case}.{region}.label.npy"
