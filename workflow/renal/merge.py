"""From the masks of a method's stages to one label map, on the native grid."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.inference import native_mask, read_probabilities
from renal.parallel import for_each
from renal.prepare import PreparedCase, entry_of, read_index
from renal.regions import clean
from renal.validation import CheckedCase
from renal.volume import read_header, write_like

if TYPE_CHECKING:
    from renal.recipe import Components, Merging

log = logging.getLogger(__name__)

StageProbabilities = tuple[PreparedCase, list[np.ndarray]]


def tumour_within_whole(whole: np.ndarray, tumour: np.ndarray) -> np.ndarray:
    """Tumour = whole AND tumour, kidney = whole without tumour (Hao 2019, equations 3 and 4).

    Parameters
    ----------
    whole, tumour : numpy.ndarray
        (z, y, x) bool on the native grid.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8: 0 background, 1 kidney, 2 tumour.
    """
    label = whole.astype(np.uint8)
    label[whole & tumour] = 2
    return label


def merge_case(stages: dict[str, StageProbabilities], method: "Merging") -> np.ndarray:
    """Label map of a case from its stages' probabilities.

    Parameters
    ----------
    stages : dict
        Stage name to the case's regions and its (z, y, x) float32 probability in each.
    method : Merging
        The recipe: how masks are cleaned and merged.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8 of the native shape.
    """

    def mask_of(stage: str) -> np.ndarray:
        case, probabilities = stages[stage]
        return cleaned_mask(case, probabilities, method.stages[stage].components)

    return tumour_within_whole(mask_of(method.merge.whole), mask_of(method.merge.tumour))


def cleaned_mask(
    case: PreparedCase, probabilities: list[np.ndarray], components: "Components"
) -> np.ndarray:
    """Native (z, y, x) bool mask of a stage with small components dropped."""
    return clean(native_mask(probabilities, case), components)[0]


def merge(
    cases: list[CheckedCase],
    predictions: dict[str, Path],
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
        Stage name to folder of predictions.
    method : Merging
        The recipe.
    output : Path
        Folder to write.
    threads : int
        Cases at a time.
    """
    output.mkdir(parents=True, exist_ok=True)  # also where none of the cases could be used
    indices = {stage: read_index(folder) for stage, folder in predictions.items()}
    work = partial(
        _merge_one, predictions=predictions, indices=indices, method=method, output=output
    )
    for case, found in zip(cases, for_each(cases, work, threads), strict=True):
        if not found:
            log.warning("%s: no kidney was found: its segmentation is empty", case.name)


def _merge_one(
    case: CheckedCase,
    predictions: dict[str, Path],
    indices: dict[str, dict[str, PreparedCase]],
    method: "Merging",
    output: Path,
) -> bool:
    stages = {}
    for stage, folder in predictions.items():
        prepared = entry_of(indices[stage], folder, case.name)
        stages[stage] = (prepared, read_probabilities(folder, prepared))
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
