"""Segmentations: a label map of each case in a folder, in exactly the geometry of its image."""

from pathlib import Path

from renal.errors import InputError


def segmentation_of(folder: Path, case: str) -> Path:
    """Path of a case's segmentation.

    Raises
    ------
    InputError
        If it is not there.
    """
    path = folder / f"{case}.nii.gz"
    if not path.exists():
        raise InputError(f"{path}: missing: delete the folder {folder} and run the workflow again")
    return path
