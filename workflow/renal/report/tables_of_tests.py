"""Tables of the test set, of whose cases no model has learned, beside what was published."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from renal.errors import InputError
from renal.files import write_text
from renal.handover.tables import read_table
from renal.labels import KITS19, Labels
from renal.report.annotators import (
    ANNOTATORS,
    annotators_means,
    notes_on_annotators,
    with_found,
)
from renal.report.tables import (
    GRIDS,
    dice_titles,
    further_titles,
    grid_titles,
    html_page,
    markdown_tables,
    notes_on_others,
)

if TYPE_CHECKING:
    from renal.report.settings import Row

# What recipes call this set where their paper reports on it.
TEST_SET = "challenge test set"
# Mean Dice of regions on KiTS19's 90 test cases, by the challenge's own labels of 2019.
PUBLISHED = {
    "KiTS19 winner (nnU-Net family), published": {
        "kidney_dice": 0.974,
        "tumour_dice": 0.851,
        "composite": 0.912,
    },
    "nnU-Net, open leaderboard 2020, published": {
        "kidney_dice": 0.979,
        "tumour_dice": 0.854,
        "composite": 0.917,
    },
}
NOTES = (
    "Mean (SD over the cases, with n - 1) of cases that no model has learned from, segmented by "
    "the mean of the folds' models. "
)
VERSIONS = (
    "Published figures are of KiTS19's 90 test cases, kidney (with its tumours and cysts) and "
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
    metrics, cases = list(_metrics(labels)), set(scores["case"])
    told = annotators_means(annotators, metrics, labels, cases) if annotators else []
    rows: list[list[object]] = [
        [ANNOTATORS, "", "native", metric, mean, math.nan, count, None]
        for metric, mean, count in told
    ]
    for name, method in methods.items():
        for grid in GRIDS:
            part = scores[(scores["method"] == name) & (scores["grid"] == grid)]
            for metric in metrics:
                values = part[metric].dropna().astype(float)
                figure = _published(method, metric, labels) if grid == "native" else None
                row = [name, method.family, grid, metric, values.mean(), values.std()]
                rows.append([*row, len(values), figure])
    columns = ["method", "family", "grid", "metric", "mean", "sd", "cases", "published"]
    return pd.DataFrame(rows, columns=columns)


def _metrics(labels: Labels) -> dict[str, str]:
    """Titles of the metrics by their columns."""
    return dice_titles(labels) | further_titles(labels)


def _published(method: "Row", metric: str, labels: Labels) -> float | None:
    """The paper's mean Dice, if it was of this set and means the same by this scheme."""
    if method.published is None or method.published.where != TEST_SET:
        return None
    figure = method.published.dice.get(metric.removesuffix("_dice"))
    return None if figure is None or not _comparable(metric, labels) else figure[0]


def _comparable(metric: str, labels: Labels) -> bool:
    """Whether a figure by KiTS19's regions is of the same region.

    Kidney and tumour are in all published schemes what they are there; what composite is the mean
    of differs, and what regions of one's own are is not known.
    """
    return labels.name == KITS19.name or (labels.name != "" and metric != "composite")


def _forms(
    table: pd.DataFrame, methods: dict[str, "Row"], labels: Labels
) -> dict[str, pd.DataFrame]:
    """Title to table of text: Dice on the native grid, then the other metrics."""
    dice = dice_titles(labels)
    further = {key: title for key, title in _metrics(labels).items() if key not in dice}
    title = f"Test set: {grid_titles(labels)['native']}"
    form = _form(table, methods, dice)
    if labels.name:
        others = [
            [name, *(_reached(figures, metric, labels) for metric in dice), "90"]
            for name, figures in PUBLISHED.items()
        ]
        form = pd.concat([form, pd.DataFrame(others, columns=form.columns)])
    return {title: form, "Test set: further metrics, native grid": _form(table, methods, further)}


def _reached(figures: dict[str, float], metric: str, labels: Labels) -> str:
    known = metric in figures and _comparable(metric, labels)
    return f"{figures[metric]:.3f}" if known else "-"


def _form(table: pd.DataFrame, methods: dict[str, "Row"], metrics: dict[str, str]) -> pd.DataFrame:
    """One row a method, one column a metric; the paper's figure stands in brackets."""
    titles = {name: f"{method.title} (`{name}`)" for name, method in methods.items()}
    if table["method"].eq(ANNOTATORS).any():
        titles[ANNOTATORS] = ANNOTATORS.capitalize()
    rows = []
    for name, method_title in titles.items():
        chosen = (table["method"] == name) & (table["grid"] == "native")
        part = table[chosen].set_index("metric")
        row = {"Method": method_title}
        for metric, title in metrics.items():
            columns = ("mean", "sd", "published")
            mean, sd, figure = (float(part[column].astype(float)[metric]) for column in columns)
            row[title] = "-" if math.isnan(mean) else f"{mean:.3f}"
            if not math.isnan(sd):
                row[title] += f" ({sd:.3f})"
            if not math.isnan(figure):
                row[title] += f" [{figure:.4f}]"
        row["Cases"] = str(part["cases"].max())
        rows.append(row)
    return pd.DataFrame(rows)


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
    found = {f"{r.name}s_found": f"{r.name}_detection" for r in labels.regions if r.lesion}
    metrics = [found.get(metric, metric) for metric in _metrics(labels)]
    columns = ["case", "method", "grid", *metrics]
    collected = pd.concat([read_table(path, columns) for path in scores])
    native = collected[collected["grid"] == "native"]
    cases = {name: sorted(native.loc[native["method"] == name, "case"]) for name in methods}
    for name, scored in cases.items():
        if not scored or len(set(scored)) < len(scored) or scored != next(iter(cases.values())):
            raise InputError(
                f"{name}/test_scores.csv: other cases than {next(iter(cases))}, or some twice: "
                "delete it and run the workflow again"
            )
    table = test_table(collected, methods, labels, annotators)
    notes = NOTES + (VERSIONS if labels.name else "")
    notes += notes_on_annotators(table) + notes_on_others(methods)
    tables = _forms(table, methods, labels)
    text = "\n".join(["# Test set", "", *markdown_tables(tables), notes, ""])
    write_text(output / "test.csv", table.to_csv(index=False, float_format="%.6f"))
    write_text(output / "test.md", text)
    write_text(output / "test.html", html_page(tables, notes))
