"""Segmentations that another program made, as ours."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.handover.checked import CheckedCase
from renal.handover.foreign import files_of_case
from renal.handover.writing import write_segmentations
from renal.image.volume import Header, read_header, read_label
from renal.labels import KITS19, Labels

if TYPE_CHECKING:
    from renal.evaluate.settings import External

log = logging.getLogger(__name__)

ANY = 255  # the largest label value that is read


def import_segmentations(
    cases: list[CheckedCase],
    settings: "External",
    output: Path,
    *,
    check_place: Callable[[Header, Header], None],
    labels: Labels = KITS19,
    threads: int = 1,
) -> None:
    """Write ``<case>.nii.gz`` of every case from the files of another program.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault.
    settings : External
        Where the files lie and what their label values mean.
    output : Path
        Folder to write.
    check_place : callable
        Raises an InputError unless two headers describe the same voxels, in whatever axis order.
    labels : Labels
        The scheme of the label maps that are written.
    threads : int
        Cases at a time.

    Raises
    ------
    InputError
        With all cases that have no file, unless they count as empty; or all files that cannot be
        read, lie elsewhere than their image, or hold a value that the recipe does not name; or all
        cases that have some of their files and lack one that is not optional.
    """
    found = {case.name: _files(settings, case.name) for case in cases}
    if missing := [case for case, files in found.items() if not any(files)]:
        words = f"{settings.folder}: {_some(missing, cases)} have no file"
        if settings.missing == "refuse":
            raise InputError(
                f"{words}: put {' and '.join(file.path for file in settings.files)} there, mend "
                "external.files, or set external.missing: empty, which scores these cases as empty"
            )
        log.warning("%s: their segmentations are empty", words)
    for number, file in enumerate(settings.files):
        without = [case for case, files in found.items() if any(files) and not files[number]]
        if without and file.optional:
            told = _some(without, cases)
            log.warning("%s: %s have no %s: it is empty", settings.folder, told, file.path)
    label_of = partial(foreign_label, settings=settings, check_place=check_place, labels=labels)
    write_segmentations(cases, label_of, output, threads=threads)


def foreign_label(
    case: CheckedCase,
    settings: "External",
    check_place: Callable[[Header, Header], None],
    labels: Labels = KITS19,
) -> np.ndarray:
    """Label map of a case, (z, y, x) uint8, in our values; empty where it has no file.

    Where files mark a voxel differently, the region that lies within the other counts.

    Raises
    ------
    InputError
        With the file and its fault.
    """
    image = read_header(Path(case.image))
    marked = {name: np.zeros(image.shape, bool, order="F") for name in labels.names}
    found = _files(settings, case.name)
    for file, paths in zip(settings.files, found, strict=True) if any(found) else ():
        if not paths:
            if file.optional:
                continue
            raise InputError(
                f"{case.name}: there is no file {settings.folder / file.path}: put it there, or "
                "set optional: true beside its path in external.files, which takes it as empty"
            )
        if len(paths) > 1:
            raise InputError(
                f"{case.name}: one file {file.path} is expected, {len(paths)} are there "
                f"({', '.join(map(str, paths))}): leave one"
            )
        header = read_header(paths[0])
        check_place(header, image)
        label = _values(header, file.labels, settings.others)
        for value, name in file.labels.items():
            # What lies in a region lies in all regions around it.
            for region in labels.regions:
                if set(labels.region(name).labels) <= set(region.labels):
                    marked[region.name] |= label == value
    return labels.paint(marked)


def _some(names: list[str], cases: list[CheckedCase]) -> str:
    """How many of the cases, and the first of their names."""
    told = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} of {len(cases)} cases ({told})"


def _files(settings: "External", case: str) -> list[list[Path]]:
    """The files that there are of a case, for each that is expected."""
    return [files_of_case(settings.folder, file.path, case) for file in settings.files]


def _values(header: Header, values: Mapping[int, str], others: str) -> np.ndarray:
    """The label values of a file, (z, y, x) uint8, whatever type of number holds them."""
    label = read_label(header, Labels(tissues={**values, ANY: values.get(ANY, "else")}, regions=()))
    if others == "refuse":
        counts = np.bincount(label.ravel(order="K"), minlength=ANY + 1)
        unknown = [v for v in np.flatnonzero(counts).tolist() if v and v not in values]
        if unknown:
            raise InputError(
                f"{header.path}: label values {unknown[:3]}: the recipe names "
                f"{', '.join(map(str, sorted(values)))}: add them to external.files, or set "
                "external.others: background"
            )
    return label
