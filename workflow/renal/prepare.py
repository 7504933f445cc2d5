"""The steps between a CT and what a stage sees, each from files to files, a batch at a time.

A folder of prepared cases holds ``cases.json`` (a `PreparedCase` each) and, for a case and each of
its regions, ``<case>.<region>.image.npy`` and ``<case>.<region>.label.npy``.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.files import read_array, read_json, write_array, write_json
from renal.intensity import normalize
from renal.parallel import for_each
from renal.regions import body_box, bounding_box, clean, joined, regions_of, widened
from renal.resample import Box, extended_box, grid_size, slices, to_grid, whole_volume
from renal.validation import CheckedCase
from renal.volume import read_header, read_label, read_volume

if TYPE_CHECKING:
    from renal.recipe import Body, Geometry, Intensity, RegionCrop, Regions

# Of a case: a native (z, y, x) bool mask, and the box within which it was looked for.
MaskSource = Callable[[CheckedCase], tuple[np.ndarray, Box]]


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


# -- crop_body --------------------------------------------------------------------------------


def crop_body(
    cases: list[CheckedCase], settings: "Body", output: Path, *, threads: int = 1
) -> None:
    """Write the body's box of each case to a JSON file: name to ((z0, z1), (y0, y1), (x0, x1))."""
    boxes = for_each(cases, partial(_body_of, settings=settings), threads)
    write_json(output, {case.name: box for case, box in zip(cases, boxes, strict=True)})


def _body_of(case: CheckedCase, settings: "Body") -> Box:
    header = read_header(Path(case.image))
    return body_box(read_volume(header), header.spacing, settings)


# -- resample ---------------------------------------------------------------------------------


def resample(
    cases: list[CheckedCase],
    settings: "Geometry",
    output: Path,
    *,
    boxes: Path | None = None,
    threads: int = 1,
) -> None:
    """Resample images (int16 HU) and labels (uint8) of whole volumes onto a stage's grid.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault.
    settings : Geometry
        The grid; labels are always resampled to the nearest voxel.
    output : Path
        Folder to write.
    boxes : Path, optional
        What `crop_body` wrote; without it the grid covers the whole volume.
    threads : int
        Cases at a time.
    """
    box_of = read_json(boxes) if boxes else {}
    work = partial(_resample_case, settings=settings, output=output, box_of=box_of)
    write_index(output, for_each(cases, work, threads))


def _resample_case(
    case: CheckedCase, settings: "Geometry", output: Path, box_of: dict[str, Box]
) -> PreparedCase:
    header = read_header(Path(case.image))
    box = box_of.get(case.name) or whole_volume(header.shape)
    if settings.extent_mm is not None:
        box = extended_box(header.shape, header.spacing, settings.extent_mm)
    size = grid_size(settings, box, header.spacing)
    volume = read_volume(header)
    image = to_grid(volume, box, size, settings.interpolation, outside=int(volume.min()))
    write_array(_image(output, case.name, 0), image)
    if case.labelled:
        label = read_label(read_header(Path(case.label)))
        write_array(_label(output, case.name, 0), to_grid(label, box, size, "nearest"))
    return PreparedCase(case.name, header.shape, [box])


# -- window_normalize ---------------------------------------------------------------------------


def window_normalize(
    source: Path, settings: "Intensity", output: Path, *, threads: int = 1
) -> None:
    """Turn resampled images (int16 HU) into what the network sees (float16).

    Labels are linked, not copied, so that the folder holds all that training reads.
    """
    cases = list(read_index(source).values())
    work = partial(_normalize_case, source=source, settings=settings, output=output)
    for_each(cases, work, threads)
    write_index(output, cases)


def _normalize_case(case: PreparedCase, source: Path, settings: "Intensity", output: Path) -> None:
    image = read_array(_image(source, case.name, 0))
    write_array(_image(output, case.name, 0), normalize(image, settings))
    label = _label(source, case.name, 0)
    if label.exists():
        link = _label(output, case.name, 0)
        link.unlink(missing_ok=True)
        try:
            os.link(label, link)
        except OSError:  # exFAT and some network folders have no hard links
            write_array(link, read_array(label))


# -- crop_roi -----------------------------------------------------------------------------------


def crop_roi(
    cases: list[CheckedCase],
    settings: "RegionCrop",
    mask_of: MaskSource,
    output: Path,
    *,
    labels: bool = True,
    threads: int = 1,
) -> list[str]:
    """Cut the regions of interest out of the native images and bring each onto its grid.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault.
    settings : RegionCrop
        What the stage that will see the regions asks for.
    mask_of : callable
        Gives a case's native (z, y, x) bool mask, and the box within which it was looked for: the
        truth for training, the earlier stage's prediction otherwise.
    output : Path
        Folder to write.
    labels : bool
        Whether to cut labels too.
    threads : int
        Cases at a time.

    Returns
    -------
    list of str
        Names of cases in which there is no region: legal, and their segmentation will be empty.
    """
    work = partial(_crop_case, settings=settings, mask_of=mask_of, output=output, labels=labels)
    prepared = for_each(cases, work, threads)
    write_index(output, prepared)
    return [case.name for case in prepared if not case.boxes]


def _crop_case(
    case: CheckedCase, settings: "RegionCrop", mask_of: MaskSource, output: Path, labels: bool
) -> PreparedCase:
    geometry, regions = settings.geometry, settings.regions
    mask, extent = mask_of(case)
    shape = mask.shape
    if settings.of_slices:
        # Which slices hold something is all that is known, or used of the truth.
        mask = mask.any(axis=(1, 2), keepdims=True)
    mask, found = clean(mask, settings.components)
    if settings.of_slices:
        found = [(rows, (0, shape[1]), (0, shape[2])) for rows, _, _ in found]
    boxes = regions_of(found, regions, shape, case.spacing, extent)
    if boxes:
        volume = read_volume(read_header(Path(case.image)))
        label = read_label(read_header(Path(case.label))) if labels and case.labelled else None
    jitter = [round(mm / step) for mm, step in zip(regions.jitter_mm, case.spacing, strict=True)]
    wide_boxes, slack = [], []
    for number, box in enumerate(boxes):
        wide = widened(box, jitter, shape)
        size = grid_size(geometry, wide, case.spacing)
        part = volume[slices(wide)]
        if regions.masked_hu is not None:
            part = np.where(mask[slices(wide)], part, np.int16(regions.masked_hu))
        part = normalize(part, settings.intensity, reference=volume).astype(np.float32)
        if regions.mask and regions.masked_hu is None:
            part *= mask[slices(wide)]
        grid = to_grid(part, whole_volume(part.shape), size, geometry.interpolation)
        write_array(_image(output, case.name, number), grid.astype(np.float16))
        if label is not None:
            truth = label[slices(wide)]
            if regions.mask:
                truth = truth * mask[slices(wide)]
            grid = to_grid(truth, whole_volume(truth.shape), size, "nearest")
            write_array(_label(output, case.name, number), grid)
        wide_boxes.append(wide)
        slack.append(_slack(box, wide, size))
    return PreparedCase(case.name, shape, wide_boxes, slack if any(jitter) else [])


def _slack(box: Box, wide: Box, size: tuple[int, int, int]) -> Box:
    """Grid voxels before and behind `box` on a grid of `size` over `wide`."""
    return tuple(
        (
            int((low - first) * length / (last - first)),
            int((last - high) * length / (last - first)),
        )
        for (low, high), (first, last), length in zip(box, wide, size, strict=True)
    )


def true_mask(case: CheckedCase, outer: "Regions | None" = None) -> tuple[np.ndarray, Box]:
    """The whole region, kidney and tumour, in a case's label, and where to look for it.

    Parameters
    ----------
    case : CheckedCase
        A labelled case.
    outer : Regions, optional
        The regions that the stage which looks for it has itself; without them it looks at the
        whole volume.

    Returns
    -------
    mask : numpy.ndarray
        (z, y, x) bool.
    extent : Box
        Native voxels.
    """
    mask = read_label(read_header(Path(case.label))) > 0
    extent = whole_volume(mask.shape)
    box = bounding_box(mask)
    if outer is not None and box is not None:
        extent = joined(regions_of([box], outer, mask.shape, case.spacing, extent))
    return mask, extent


# -- reading prepared cases ---------------------------------------------------------------------


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
                entry["name"],
                tuple(entry["shape"]),
                *(
                    [tuple(tuple(side) for side in box) for box in entry[key]]
                    for key in ("boxes", "slack")
                ),
            )
            for entry in read_json(path)
        }
    except (InputError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: missing or damaged: delete the folder {folder} and run the workflow again"
        ) from error


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
    return [read_array(_image(folder, case.name, n)) for n in range(len(case.boxes))]


def read_labels(folder: Path, case: PreparedCase) -> list[np.ndarray]:
    """Memory-mapped uint8 label of each region, (z, y, x).

    Raises
    ------
    InputError
        If the case has no label.
    """
    paths = [_label(folder, case.name, n) for n in range(len(case.boxes))]
    for path in paths:
        if not path.exists():
            raise InputError(
                f"{path}: missing: delete the folder {path.parent} and run the workflow again"
            )
    return [read_array(path) for path in paths]


def _image(folder: Path, case: str, region: int) -> Path:
    return Path(folder) / f"{case}.{region}.image.npy"


def _label(folder: Path, case: str, region: int) -> Path:
    return Path(folder) / f"{case}.{region}.label.npy"
