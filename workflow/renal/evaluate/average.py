"""The mean of several rows' probabilities on the native grid."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from renal.handover.checked import CheckedCase
from renal.handover.predictions import (
    FOREGROUND,
    StageProbabilities,
    mean_probabilities,
    native_parts,
)
from renal.handover.writing import write_segmentations
from renal.image.boxes import Box, joined, slices, three
from renal.image.components import clean
from renal.labels import KITS19, Labels

if TYPE_CHECKING:
    from renal.evaluate.settings import AveragedMap, Averaging

Parts = list[tuple[np.ndarray, Box]]


def average(
    cases: list[CheckedCase],
    predictions: dict[str, list[Path]],
    settings: "Averaging",
    output: Path,
    *,
    labels: Labels = KITS19,
    threads: int = 1,
) -> None:
    """Write ``<case>.nii.gz`` of every case, in exactly the geometry of its image.

    Parameters
    ----------
    cases : list of CheckedCase
        Cases without a fault.
    predictions : dict
        Row and stage, as row.stage, to folders of predictions, of which the mean counts.
    settings : Averaging
        The maps of each region.
    output : Path
        Folder to write.
    labels : Labels
        The scheme of the label maps.
    threads : int
        Cases at a time.
    """
    label_of = partial(_label_of, predictions=predictions, settings=settings, labels=labels)
    write_segmentations(cases, label_of, output, threads=threads)


def _label_of(
    case: CheckedCase, predictions: dict[str, list[Path]], settings: "Averaging", labels: Labels
) -> np.ndarray:
    stages = {
        stage: mean_probabilities(folders, case.name) for stage, folders in predictions.items()
    }
    return averaged_label(stages, settings, labels)


def averaged_label(
    stages: dict[str, StageProbabilities], settings: "Averaging", labels: Labels = KITS19
) -> np.ndarray:
    """Label map of a case from the probabilities of stages of several rows.

    What a row did not look at has the probability zero there.

    Parameters
    ----------
    stages : dict
        Row and stage, as row.stage, to the case's regions and its probabilities in each.
    settings : Averaging
        The maps of each region, what they weigh, and how the native mask is cleaned.
    labels : Labels
        The scheme of the label map.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8 of the native shape.
    """
    shape = next(iter(stages.values()))[0].shape
    masks: dict[str, np.ndarray] = {}
    for region, maps in settings.regions.items():
        mask, outer = _mean_mask(stages, maps, shape), labels.outer(labels.region(region), masks)
        if outer is not None:
            mask &= masks[outer.name]  # what lies outside of it displaces no component
        components = settings.components.get(region)
        masks[region] = mask if components is None else clean(mask, components)[0]
    return labels.paint(masks)


def _mean_mask(
    stages: dict[str, StageProbabilities],
    maps: "tuple[AveragedMap, ...]",
    shape: tuple[int, int, int],
) -> np.ndarray:
    """Where the weighted mean of some maps is above one half: (z, y, x) bool."""
    parts = [(place.weight, _native(stages[place.stage], place.channel)) for place in maps]
    mask = np.zeros(shape, bool, order="F")
    boxes = [box for _, several in parts for _, box in several]
    if not boxes:
        return mask
    around = joined(boxes)
    total = np.zeros([high - low for low, high in around], np.float32)
    for weight, several in parts:
        row = np.zeros_like(total)
        for native, box in several:  # where a row's regions overlap, the larger one counts
            place = slices(_moved(box, around))
            row[place] = np.maximum(row[place], native)
        total += np.float32(weight) * row
    mask[slices(around)] = total > FOREGROUND * sum(weight for weight, _ in parts)
    return mask


def _native(stage: StageProbabilities, channel: int) -> Parts:
    case, regions = stage
    return list(native_parts([maps[channel] for maps in regions], case))


def _moved(box: Box, around: Box) -> Box:
    """A box as seen from the start of another one."""
    return three(
        (low - start, high - start) for (low, high), (start, _) in zip(box, around, strict=True)
    )
