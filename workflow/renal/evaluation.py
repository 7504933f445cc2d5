"""Scores of a method's segmentations, case by case."""

import csv
import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from renal.files import write_text
from renal.merge import StageProbabilities, merge_case, segmentation_of
from renal.metrics import case_metrics
from renal.parallel import for_each
from renal.prepare import PreparedCase, read_index, read_labels
from renal.resample import slices, to_grid
from renal.targets import foreground, maps_of
from renal.validation import CheckedCase
from renal.volume import read_header, read_label

if TYPE_CHECKING:
    from renal.recipe import Merging, Target

LOCATED = ("located_kidney", "located_tumour")


def evaluate(
    cases: list[CheckedCase],
    segmentations: Path,
    truths: dict[str, list[Path]],
    method: "Merging",
    output: Path,
    *,
    name: str,
    fold: int,
    located: Path | None = None,
    threads: int = 1,
) -> None:
    """Score the segmentations of labelled cases and write a tidy CSV.

    Three rows a case, told apart by the column `grid`: ``native``, the official KiTS19 metric on
    the scanner's voxels; ``resampled``, on the method's own grid; and ``ceiling``, native again,
    for the truth put through the method's grids, regions and merging in place of a prediction.

    Parameters
    ----------
    cases : list of CheckedCase
        Labelled cases without a fault.
    segmentations : Path
        Folder of ``<case>.nii.gz``.
    truths : dict
        Stage name to prepared folders that hold the true labels on the stage's grid.
    method : Merging
        The recipe.
    output : Path
        CSV to write.
    name, fold : str, int
        The method's name and the fold that held the cases out.
    located : Path, optional
        Predictions of the stage that looked at regions alone: which part of kidney and tumour
        was in them is a score too, because the rest was lost before it was looked at.
    threads : int
        Cases at a time.
    """
    found = {
        stage: {case: (folder, entry) for folder in folders for case, entry in _cases(folder)}
        for stage, folders in truths.items()
    }
    regions = read_index(located) if located else {}
    work = partial(
        _score_case, segmentations=segmentations, truths=found, method=method, regions=regions
    )
    fixed = {"method": name, "family": method.family, "fold": fold}
    rows = [{**fixed, **row} for case_rows in for_each(cases, work, threads) for row in case_rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(output, text.getvalue())


def _cases(folder: Path) -> list[tuple[str, PreparedCase]]:
    return list(read_index(folder).items())


def _score_case(
    case: CheckedCase,
    segmentations: Path,
    truths: dict[str, dict[str, tuple[Path, PreparedCase]]],
    method: "Merging",
    regions: dict[str, PreparedCase],
) -> list[dict[str, Any]]:
    truth = read_label(read_header(Path(case.label)))
    prediction = read_label(read_header(segmentation_of(segmentations, case.name)))
    spacing = tuple(case.spacing)

    folder, prepared = truths[method.grid][case.name]
    (grid_truth,) = read_labels(folder, prepared)
    (box,) = prepared.boxes
    grid_prediction = to_grid(prediction, box, grid_truth.shape, "nearest")
    lengths = np.array([high - low for low, high in box])
    grid_spacing = tuple((np.array(spacing) * lengths / grid_truth.shape).tolist())

    stages = {
        stage: _truth_as_probability(*truths[stage][case.name], settings.target)
        for stage, settings in method.stages.items()
    }
    scores = {
        "native": case_metrics(prediction, truth, spacing)
        | located_shares(truth, regions.get(case.name)),
        "resampled": case_metrics(grid_prediction, np.asarray(grid_truth), grid_spacing),
        "ceiling": case_metrics(merge_case(stages, method), truth, spacing),
    }
    return [
        {"case": case.name, "grid": grid, **dict.fromkeys(LOCATED, ""), **_rounded(values)}
        for grid, values in scores.items()
    ]


def located_shares(truth: np.ndarray, case: PreparedCase | None) -> dict[str, float | str]:
    """Share of the voxels of kidney (with tumour) and of tumour that lie in a case's regions.

    Parameters
    ----------
    truth : numpy.ndarray
        (z, y, x) native label map.
    case : PreparedCase
        Its predicted regions; None for a method that looks at the whole volume.

    Returns
    -------
    dict
        Recall by column of the scores; empty text where there is nothing to be found.
    """
    if case is None:
        return {}
    inside = np.zeros_like(truth, bool)  # with its axes in the same order in memory
    for box in case.boxes:
        inside[slices(box)] = True
    counts = np.bincount(truth.ravel(order="K") + 3 * inside.ravel(order="K"), minlength=6)
    shares = {}
    for column, first in zip(LOCATED, (1, 2), strict=True):
        total = counts[first:3].sum() + counts[3 + first :].sum()
        shares[column] = float(counts[3 + first :].sum() / total) if total else ""
    return shares


def _truth_as_probability(folder: Path, case: PreparedCase, target: "Target") -> StageProbabilities:
    maps = []
    for label in read_labels(folder, case):
        if target == "slices":
            label = label.max(axis=(1, 2), keepdims=True)
        parts = [foreground(label, name) for name in maps_of(target)]
        maps.append(np.stack(parts).astype(np.float32))
    return case, maps


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()
    }
