"""Segmentations of several cases, however they are made."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from renal.errors import InputError
from renal.handover.checked import CheckedCase
from renal.image.volume import read_header, write_like
from renal.parallel import for_each

log = logging.getLogger(__name__)


def write_segmentations(
    cases: list[CheckedCase],
    label_of: Callable[[CheckedCase], np.ndarray],
    output: Path,
    *,
    threads: int = 1,
) -> None:
    """Write ``<case>.nii.gz`` of every case, in exactly the geometry of its image.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault.
    label_of : callable
        Gives a case's label map, (z, y, x) uint8 of the native shape.
    output : Path
        Folder to write.
    threads : int
        Cases at a time.

    Raises
    ------
    InputError
        With the faults of all cases for which `label_of` raised one.
    """
    output.mkdir(parents=True, exist_ok=True)  # also where none of the cases could be used
    results = for_each(cases, partial(_write, label_of=label_of, output=output), threads)
    if faults := [result for result in results if isinstance(result, str)]:
        raise InputError("\n".join(faults))
    for case, found in zip(cases, results, strict=True):
        if not found:
            log.warning("%s: nothing was found: its segmentation is empty", case.name)


def _write(
    case: CheckedCase, label_of: Callable[[CheckedCase], np.ndarray], output: Path
) -> bool | str:
    """Whether anything was found, or a fault."""
    try:
        label = label_of(case)
    except InputError as error:
        return str(error)
    write_like(output / f"{case.name}.nii.gz", label, read_header(Path(case.image)))
    return bool(label.any())
