"""Tables of the test set, of whose cases no model has learned, beside what was published."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from renal.files import write_text
from renal.labels import KITS19, Labels
from renal.report.annotators import (
    ANNOTATORS,
    annotators_means,
    notes_on_annotators,
    with_found,
)
from renal.report.published import KITS19_TESTED, lines_of
from renal.report.tables import (
    GRIDS,
    dice_titles,
    further_titles,
    grid_titles,
    html_page,
    markdown_tables,
    native_form,
    notes_on_others,
    published,
    read_scores,
)

if TYPE_CHECKING:
    from renal.report.settings import Row

# What recipes call this set where their paper reports on it.
TEST_SET = "challenge test set"
NOTES = (
    "Mean (SD over the cases, with n - 1) of cases that no model has learned from, segmented by "
    "the mean of the folds' models. Where a metric is defined for fewer cases than the row has, n "
    "says for how many."
)
VERSIONS = (
    " Published figures are of KiTS19's 90 test cases, kidney (with its tumours and cysts) and "
    "tumour, scored with the challenge's own labels of 2019, which stayed hidden. The labels of "
    "these cases that are public since are of a later version, drawn anew, so that the same "
    "segmentation scores otherwise."
)


def test_table(
    scores: pd.DataFrame,
    methods: dict[str, "Row"],
    labels: Labels = KITS19,
    annotators: Path | None = None,
) -> pd.DataFrame:
    """Mean and SD over the cases, tidy, for each method, grid and metric.

    Parameters
    ----------
    scores : pandas.DataFrame
        Rows of every method's test_scores.csv.
    methods : dict
        Method name to what tables need to know of it, in order.
    labels : Labels
        The regions that were scored.
    annotators : Path, optional
        Scores of annotators among themselves, which are told by the mean alone.
    """
    scores = with_found(scores, labels)
    metrics = [*dice_titles(labels), *further_titles(labels)]
    told = annotators_means(annotators, metrics, labels, set(scores["case"])) if annotators else []
    rows: list[list[object]] = [
        [ANNOTATORS, "", "native", metric, mean, math.nan, count, None]
        for metric, mean, count in told
    ]
    for name, method in methods.items():
        for grid in GRIDS:
            part = scores[(scores["method"] == name) & (scores["grid"] == grid)]
            for metric in metrics:
                values = part[metric].dropna().astype(float)
                row = [name, method.family, grid, metric, values.mean(), values.std()]
                figure = _published(method, grid, metric, labels)
                rows.append([*row, len(values), figure])
    columns = ["method", "family", "grid", "metric", "mean", "sd", "cases", "published"]
    return pd.DataFrame(rows, columns=columns)


def _published(method: "Row", grid: str, metric: str, labels: Labels) -> float | None:
    """The paper's mean Dice, if it was of this set and means the same by these labels."""
    told = method.published
    if told is None or told.where != TEST_SET or not _comparable(metric, labels):
        return None
    return published(method, grid, metric, KITS19.name)


def _comparable(metric: str, labels: Labels) -> bool:
    """Whether a figure by KiTS19's labels is of the same region.

    Kidney and tumour are in all published schemes what they are there; what composite is the mean
    of differs, and what regions of one's own are is not known.
    """
    return labels.name == KITS19.name or (labels.name != "" and metric != "composite")


def _forms(
    table: pd.DataFrame, methods: dict[str, "Row"], labels: Labels
) -> dict[str, pd.DataFrame]:
    """Title to table of text: Dice on the native grid, then the other metrics."""
    dice = native_form(table, methods, dice_titles(labels))
    if labels.name:
        figures = {
            name: {metric: figure for metric, figure in told.items() if _comparable(metric, labels)}
            for name, told in KITS19_TESTED.items()
        }
        others = [[*line, "90"] for line in lines_of(figures, dice_titles(labels))]
        dice = pd.concat([dice, pd.DataFrame(others, columns=dice.columns)])
    return {
        f"Test set: {grid_titles(labels)['native']}": dice,
        "Test set: further metrics, native grid": native_form(
            table, methods, further_titles(labels)
        ),
    }


def write_test_tables(
    scores: list[Path],
    methods: dict[str, "Row"],
    output: Path,
    labels: Labels = KITS19,
    annotators: Path | None = None,
) -> None:
    """Write test.csv, test.md and test.html into the folder `output`.

    Raises
    ------
    InputError
        If methods were not scored on the same cases, each once.
    """
    collected = read_scores(scores, list(methods), labels)
    table = test_table(collected, methods, labels, annotators)
    notes = NOTES + (VERSIONS if labels.name else "")
    notes += notes_on_annotators(table) + notes_on_others(methods)
    tables = _forms(table, methods, labels)
    text = "\n".join(["# Test set", "", *markdown_tables(tables), notes, ""])
    write_text(output / "test.csv", table.to_csv(index=False, float_format="%.6f"))
    write_text(output / "test.md", text)
    write_text(output / "test.html", html_page(tables, notes))
