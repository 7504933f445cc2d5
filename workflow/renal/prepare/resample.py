"""Whole volumes on a stage's grid."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.files import read_json, write_array
from renal.handover.checked import CheckedCase
from renal.handover.prepared import PreparedCase, image_file, label_file, write_index
from renal.image.boxes import Box, extended_box, three, whole_volume
from renal.image.grids import grid_size, labels_to_grid, to_grid
from renal.image.volume import read_header, read_label, read_volume
from renal.labels import KITS19, Labels
from renal.parallel import for_each

if TYPE_CHECKING:
    from renal.image.settings import Geometry


def resample(
    cases: list[CheckedCase],
    settings: "Geometry",
    output: Path,
    *,
    boxes: Path | None = None,
    labels: Labels = KITS19,
    threads: int = 1,
) -> None:
    """Resample images (int16 HU) and labels (uint8) of whole volumes onto a stage's grid.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault.
    settings : Geometry
        The grid of images, and of labels by `labels_to_grid`.
    output : Path
        Folder to write.
    boxes : Path, optional
        What `crop_body` wrote; without it the grid covers the whole volume.
    labels : Labels
        The scheme of the labels.
    threads : int
        Cases at a time.

    Raises
    ------
    InputError
        If a case has no box there.
    """
    box_of = _read_boxes(boxes) if boxes else {}
    if boxes and (missing := {case.name for case in cases} - box_of.keys()):
        raise InputError(
            f"{boxes}: no box of {', '.join(sorted(missing))}: delete it and run the workflow again"
        )
    work = partial(_resample_case, settings=settings, output=output, box_of=box_of, labels=labels)
    write_index(output, for_each(cases, work, threads))


def _read_boxes(path: Path) -> dict[str, Box]:
    try:
        return {
            case: three((int(low), int(high)) for low, high in box)
            for case, box in read_json(path).items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: damaged, no boxes of cases: delete it and run the workflow again"
        ) from error


def _resample_case(
    case: CheckedCase,
    settings: "Geometry",
    output: Path,
    box_of: dict[str, Box],
    labels: Labels,
) -> PreparedCase:
    header = read_header(Path(case.image))
    image, box = resampled(read_volume(header), header.spacing, settings, box_of.get(case.name))
    write_array(image_file(output, case.name, 0), image)
    if case.labelled:
        label = read_label(read_header(case.label_path), labels)
        grid = labels_to_grid(label, box, three(image.shape), labels)
        write_array(label_file(output, case.name, 0), grid)
    return PreparedCase(case.name, header.shape, [box])


def resampled(
    volume: np.ndarray,
    spacing: tuple[float, float, float],
    settings: "Geometry",
    body: Box | None = None,
) -> tuple[np.ndarray, Box]:
    """A whole volume on a stage's grid.

    Parameters
    ----------
    volume : numpy.ndarray
        (z, y, x) int16, HU.
    spacing : tuple of float
        (z, y, x) mm.
    settings : Geometry
        The grid.
    body : Box, optional
        The part that the grid covers, if not the whole volume.

    Returns
    -------
    image : numpy.ndarray
        (z, y, x) int16, HU.
    box : Box
        What the grid covers of the volume, which it may leave.
    """
    box = body or whole_volume(volume.shape)
    if settings.extent_mm is not None:
        box = extended_box(volume.shape, spacing, settings.extent_mm)
    size = grid_size(settings, box, spacing)
    return to_grid(volume, box, size, outside=int(volume.min())), box
