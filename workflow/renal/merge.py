"""From the probabilities of a method's stages to one label map, on the native grid."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.inference import read_probabilities
from renal.merges import StageMap, merge_maps
from renal.parallel import for_each
from renal.prepare import PreparedCase, entry_of, read_index
from renal.targets import maps_of
from renal.validation import CheckedCase
from renal.volume import read_header, write_like

if TYPE_CHECKING:
    from renal.recipe import Merging

log = logging.getLogger(__name__)

StageProbabilities = tuple[PreparedCase, list[np.ndarray]]


def merge_case(stages: dict[str, StageProbabilities], method: "Merging") -> np.ndarray:
    """Label map of a case from its stages' probabilities.

    Parameters
    ----------
    stages : dict
        Stage name to the case's regions and its (maps, z, y, x) float32 probabilities in each.
    method : Merging
        The recipe: how masks are cleaned and merged.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8 of the native shape.
    """

    def map_of(place: str) -> StageMap:
        stage, _, name = place.partition(".")
        case, probabilities = stages[stage]
        settings = method.stages[stage]
        channel = maps_of(settings.target).index(name) if name else 0
        return StageMap(case, [maps[channel] for maps in probabilities], settings.components)

    maps = {role: map_of(place) for role, place in method.merge.roles.items()}
    return merge_maps(maps, method.merge)


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
    total = read_probabilities(folders[0], entries[0])
    for folder, entry in zip(folders[1:], entries[1:], strict=True):
        for region, maps in zip(total, read_probabilities(folder, entry), strict=True):
            region += maps
    return entries[0], [region / len(folders) for region in total]


def merge(
    cases: list[CheckedCase],
    predictions: dict[str, list[Path]],
    method: "Merging",
    output: Path,
    *,
    threads: int = 1,
) -> None:
    """Write ``<case>.nii.gz`` of every case, in exactly the geometry of its image.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault.
    predictions : dict
        Stage name to folders of predictions, of which the mean counts.
    method : Merging
        The recipe.
    output : Path
        Folder to write.
    threads : int
        Cases at a time.
    """
    output.mkdir(parents=True, exist_ok=True)  # also where none of the cases could be used
    work = partial(_merge_one, predictions=predictions, method=method, output=output)
    for case, found in zip(cases, for_each(cases, work, threads), strict=True):
        if not found:
            log.warning("%s: no kidney was found: its segmentation is empty", case.name)


def _merge_one(
    case: CheckedCase, predictions: dict[str, list[Path]], method: "Merging", output: Path
) -> bool:
    stages = {
        stage: mean_probabilities(folders, case.name) for stage, folders in predictions.items()
    }
    label = merge_case(stages, method)
    write_like(output / f"{case.name}.nii.gz", label, read_header(Path(case.image)))
    return bool(label.any())


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
