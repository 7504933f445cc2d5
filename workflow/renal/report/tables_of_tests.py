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
                rows.append([*row, len(values), _published(method, grid, metric)])
    columns = ["method", "family", "grid", "metric", "mean", "sd", "cases", "published"]
    return pd.DataFrame(rows, columns=columns)


def _published(method: "Row", grid: str, metric: str) -> float | None:
    """The paper's mean Dice, if it was of this set."""
    if method.published is None or method.published.where != TEST_SET:
        return None
    return published(method, grid, metric)


def _forms(
    table: pd.DataFrame, methods: dict[str, "Row"], labels: Labels
) -> dict[str, pd.DataFrame]:
    """Title to table of text: Dice on the native grid, then the other metrics."""
    dice = native_form(table, methods, dice_titles(labels))
    if labels.name == KITS19.name:
        others = [[*line, "90"] for line in lines_of(KITS19_TESTED, dice_titles(labels))]
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
    notes = NOTES + (VERSIONS if labels.name == KITS19.name else "")
    notes += notes_on_annotators(table) + notes_on_others(methods)
    tables = _forms(table, methods, labels)
    text = "\n".join(["# Test set", "", *markdown_tables(tables), notes, ""])
    write_text(output / "test.csv", table.to_csv(index=False, float_format="%.6f"))
    write_text(output / "test.md", text)
    write_text(output / "test.html", html_page(tables, notes))
