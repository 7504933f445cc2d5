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
from renal.prepare import PreparedCase, foreground, read_index, read_labels
from renal.resample import to_grid
from renal.validation import CheckedCase
from renal.volume import read_header, read_label

if TYPE_CHECKING:
    from renal.recipe import Merging


def evaluate(
    cases: list[CheckedCase],
    segmentations: Path,
    truths: dict[str, list[Path]],
    method: "Merging",
    output: Path,
    *,
    name: str,
    fold: int,
    threads: int = 1,
) -> None:
    """Score the segmentations of labelled cases and write a tidy CSV.

    Three rows a case, told apart by the column `grid`: ``native``, the official KiTS19 metric on
    the scanner's voxels; ``resampled``, on the method's own grid; and ``ceiling``, native again,
    for the truth put through the method's grids and component rules in place of a prediction.

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
    threads : int
        Cases at a time.
    """
    found = {
        stage: {case: (folder, entry) for folder in folders for case, entry in _cases(folder)}
        for stage, folders in truths.items()
    }
    work = partial(_score_case, segmentations=segmentations, truths=found, method=method)
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
) -> list[dict[str, Any]]:
    truth = read_label(read_header(Path(case.label)))
    prediction = read_label(read_header(segmentation_of(segmentations, case.name)))
    spacing = tuple(case.spacing)

    folder, prepared = truths[method.merge.whole][case.name]
    (grid_truth,) = read_labels(folder, prepared)
    (box,) = prepared.boxes
    grid_prediction = to_grid(prediction, box, grid_truth.shape, "nearest")
    lengths = np.array([high - low for low, high in box])
    grid_spacing = tuple((np.array(spacing) * lengths / grid_truth.shape).tolist())

    stages = {
        stage: _truth_as_probability(*entries[case.name], method.stages[stage].target)
        for stage, entries in truths.items()
    }
    scores = {
        "native": case_metrics(prediction, truth, spacing),
        "resampled": case_metrics(grid_prediction, np.asarray(grid_truth), grid_spacing),
        "ceiling": case_metrics(merge_case(stages, method), truth, spacing),
    }
    return [
        {"case": case.name, "grid": grid, **_rounded(values)} for grid, values in scores.items()
    ]


def _truth_as_probability(folder: Path, case: PreparedCase, target: str) -> StageProbabilities:
    labels = read_labels(folder, case)
    return case, [foreground(label, target).astype(np.float32) for label in labels]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: round(value, 6) if isinstance(value, float) else value for key, value in values.items()
    }
