"""Scores of a method's segmentations, case by case."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from renal.evaluate.merge import merge_case, merge_on_grid
from renal.evaluate.metrics import case_metrics
from renal.evaluate.scores import write_scores
from renal.handover.checked import CheckedCase
from renal.handover.predictions import StageProbabilities, mean_probabilities
from renal.handover.prepared import PreparedCase, read_index, read_labels
from renal.handover.segmentations import segmentation_of
from renal.image.boxes import slices, three
from renal.image.grids import labels_to_grid
from renal.image.volume import read_header, read_label
from renal.labels import KITS19, Labels
from renal.parallel import for_each

if TYPE_CHECKING:
    from renal.evaluate.settings import MergedStage, Merging


def located_columns(labels: Labels) -> list[str]:
    """Columns of the scores that say which share of each region was in what was looked at."""
    return [f"located_{name}" for name in labels.names]


def evaluate(
    cases: list[CheckedCase],
    segmentations: Path,
    truths: dict[str, list[Path]],
    method: "Merging",
    output: Path,
    *,
    name: str,
    fold: int | None = None,
    located: Path | None = None,
    predictions: dict[str, list[Path]] | None = None,
    labels: Labels = KITS19,
    threads: int = 1,
) -> None:
    """Score the segmentations of labelled cases and write a tidy CSV.

    Three rows a case, told apart by the column `grid`: ``native``, the official KiTS19 metric on
    the scanner's voxels; ``resampled``, on the method's own grid; and ``ceiling``, native again,
    for the truth put through the method's grids, regions and merging in place of a prediction. A
    method without a grid of its own has the first alone. Metrics of regions that it does not look
    for are empty.

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
        The method's name and the fold that held the cases out; None for cases that are tests.
    located : Path, optional
        Predictions of the stage that looked at boxes alone: which part of each region was in
        them is a score too, because the rest was lost before it was looked at.
    predictions : dict, optional
        Stage name to folders of predictions, of which the mean counts, for a method whose maps lie
        on one grid: there they are merged and scored. Other methods' segmentations are resampled.
    labels : Labels
        What the label values mean.
    threads : int
        Cases at a time.
    """
    found = {
        stage: {
            case: (folder, entry)
            for folder in folders
            for case, entry in read_index(folder).items()
        }
        for stage, folders in truths.items()
    }
    work = partial(
        _score_case,
        segmentations=segmentations,
        truths=found,
        method=method,
        looked_at=read_index(located) if located else {},
        predictions=predictions or {},
        labels=labels,
    )
    held_out = "" if fold is None else fold
    fixed = {"method": name, "family": method.family, "fold": held_out}
    rows = [{**fixed, **row} for case_rows in for_each(cases, work, threads) for row in case_rows]
    write_scores(rows, output)


def _score_case(
    case: CheckedCase,
    segmentations: Path,
    truths: dict[str, dict[str, tuple[Path, PreparedCase]]],
    method: "Merging",
    looked_at: dict[str, PreparedCase],
    predictions: dict[str, list[Path]],
    labels: Labels,
) -> list[dict[str, Any]]:
    truth = read_label(read_header(case.label_path), labels)
    prediction = read_label(read_header(segmentation_of(segmentations, case.name)), labels)
    spacing = case.spacing_mm
    scores = {
        "native": case_metrics(prediction, truth, spacing, labels)
        | located_shares(truth, looked_at.get(case.name), labels)
    }
    if method.grid is not None:
        folder, prepared = truths[method.grid][case.name]
        (grid_truth,) = read_labels(folder, prepared)
        (box,) = prepared.boxes
        size = three(grid_truth.shape)
        maps = {
            stage: mean_probabilities(folders, case.name) for stage, folders in predictions.items()
        }
        if maps:
            grid_prediction = merge_on_grid(maps, size, method, labels)
        else:
            grid_prediction = labels_to_grid(prediction, box, size, labels)
        lengths = np.array([high - low for low, high in box])
        grid_spacing = tuple((np.array(spacing) * lengths / grid_truth.shape).tolist())
        stages = {
            stage: _truth_as_probability(*truths[stage][case.name], settings, labels)
            for stage, settings in method.stages.items()
        }
        scores["resampled"] = case_metrics(
            grid_prediction, np.asarray(grid_truth), grid_spacing, labels
        )
        scores["ceiling"] = case_metrics(merge_case(stages, method, labels), truth, spacing, labels)
    empty = dict.fromkeys(located_columns(labels), "")
    return [
        {"case": case.name, "grid": grid, **empty, **_looked_for(values, method, labels)}
        for grid, values in scores.items()
    ]


def _looked_for(values: dict[str, Any], method: "Merging", labels: Labels) -> dict[str, Any]:
    """Scores without those of regions that a method does not look for."""
    if method.regions is None:
        return values

    def region_of(column: str) -> str:
        column = f"{column.removeprefix('located_')}_"  # names may begin with each other's
        own = (name for name in labels.names if column.startswith(f"{name}_"))
        return max(own, key=len, default="composite")

    return {key: value if region_of(key) in method.regions else "" for key, value in values.items()}


def located_shares(
    truth: np.ndarray, case: PreparedCase | None, labels: Labels = KITS19
) -> dict[str, float | str]:
    """Share of the voxels of each region that lie in what was looked at of a case.

    Parameters
    ----------
    truth : numpy.ndarray
        (z, y, x) native label map.
    case : PreparedCase
        The boxes that were looked at; None for a method that looks at the whole volume.
    labels : Labels
        What the label values mean.

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
    count = labels.count
    pairs = truth.ravel(order="K") + np.uint16(count) * inside.ravel(order="K")
    outside_inside = np.bincount(pairs, minlength=2 * count).reshape(2, count)
    shares: dict[str, float | str] = {}
    for column, region in zip(located_columns(labels), labels.regions, strict=True):
        _, found = voxels = outside_inside[:, list(region.labels)].sum(axis=1)
        shares[column] = float(found / voxels.sum()) if voxels.any() else ""
    return shares


def _truth_as_probability(
    folder: Path, case: PreparedCase, stage: "MergedStage", labels: Labels
) -> StageProbabilities:
    maps = []
    for label in read_labels(folder, case):
        parts = np.stack([labels.region(name).mask(label) for name in stage.maps])
        if stage.of_slices:
            parts = np.any(parts, axis=(2, 3), keepdims=True)
        maps.append(parts.astype(np.float32))
    return case, maps
