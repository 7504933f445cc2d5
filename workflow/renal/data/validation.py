"""Checking every file of a case once, before anything is computed from it."""

from functools import partial
from pathlib import Path

import numpy as np
from isal import isal_zlib

from renal.data.cases import Case
from renal.data.intensity_checks import check_intensities
from renal.data.label_checks import check_content, check_place
from renal.data.posture_checks import check_posture
from renal.errors import InputError
from renal.handover.checked import CheckedCase, write_checked
from renal.handover.checksums import checksum
from renal.image.volume import read_header, read_label, read_padded
from renal.labels import KITS19, Labels
from renal.parallel import for_each

SAMPLED = 64  # voxels along an axis, at least, by which a CT is known


def validate(
    root: Path,
    cases: list[Case],
    output: Path,
    *,
    maximum_voxels: int,
    labels: Labels = KITS19,
    threads: int = 1,
) -> None:
    """Check some cases and write what was found, faults included, as JSON.

    Parameters
    ----------
    root : Path
        The data set's folder.
    cases : list of Case
        The cases.
    output : Path
        JSON to write: a `CheckedCase` each.
    maximum_voxels : int
        Largest volume that is read.
    labels : Labels
        The label values that there are.
    threads : int
        Cases at a time.

    Raises
    ------
    InputError
        If the data set's folder is not there.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder: set data.root in config.yaml")
    work = partial(check_case, maximum_voxels=maximum_voxels, labels=labels)
    write_checked(output, for_each(cases, work, threads))


def check_case(case: Case, *, maximum_voxels: int, labels: Labels = KITS19) -> CheckedCase:
    """Read and check the files of one case; a fault is recorded, not raised.

    Parameters
    ----------
    case : Case
        Where its files lie.
    maximum_voxels : int
        Largest volume that is read.
    labels : Labels
        The label values that there are.
    """
    label = None if case.label is None else str(case.label)
    checked = CheckedCase(name=case.name, image=str(case.image), label=label)
    try:
        header = read_header(case.image, maximum_voxels)
        checked.shape, checked.spacing = list(header.shape), list(header.spacing)
        volume, padding = read_padded(header)
        checked.notes += header.remarks
        checked.notes += check_intensities(header.path, volume, padding, header.spacing)
        checked.notes += check_posture(volume, header.spacing)
        if case.label is not None:
            label_header = read_header(case.label, maximum_voxels)
            checked.notes += (f"label: {remark}" for remark in label_header.remarks)
            check_place(label_header, header)
            content = check_content(label_header, read_label(label_header, labels), volume, labels)
            checked.volumes_ml = content.volumes_ml
            checked.notes += content.remarks
        checked.sample = _sample(volume)
        checked.checksum = "-".join(map(checksum, case.files.values()))
    except InputError as error:
        checked.fault = str(error)
        by_the_system = getattr(error.__cause__, "errno", None) is not None
        checked.transient = by_the_system or "data.maximum_voxels" in checked.fault
    return checked


def _sample(volume: np.ndarray) -> str:
    """CRC-32 of voxels on a coarse grid, as they lie in the patient."""
    steps = (max(1, length // SAMPLED) for length in volume.shape)
    voxels = volume[tuple(slice(None, None, step) for step in steps)]
    return f"{isal_zlib.crc32(voxels.tobytes()):08x}"
