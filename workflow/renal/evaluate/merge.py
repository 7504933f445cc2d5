"""From the probabilities of a method's stages to one label map, on the native grid."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.evaluate.merges import merge_maps
from renal.evaluate.stage_map import StageMap
from renal.handover.checked import CheckedCase
from renal.handover.predictions import StageProbabilities, mean_probabilities
from renal.image.volume import read_header, write_like
from renal.labels import KITS19, Labels
from renal.parallel import for_each

if TYPE_CHECKING:
    from renal.evaluate.settings import Merging

log = logging.getLogger(__name__)


def merge_case(
    stages: dict[str, StageProbabilities], method: "Merging", labels: Labels = KITS19
) -> np.ndarray:
    """Label map of a case from its stages' probabilities.

    Parameters
    ----------
    stages : dict
        Stage name to the case's regions and its (maps, z, y, x) float32 probabilities in each.
    method : Merging
        The recipe: how masks are cleaned and merged.
    labels : Labels
        The scheme of the label map.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8 of the native shape.
    """

    def map_of(place: str) -> StageMap:
        stage, _, name = place.partition(".")
        case, probabilities = stages[stage]
        settings = method.stages[stage]
        channel = settings.maps.index(name) if name else 0
        return StageMap(case, [maps[channel] for maps in probabilities], settings.components)

    maps = {role: map_of(place) for role, place in method.merge.maps.items()}
    return merge_maps(maps, method.merge, labels)


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
