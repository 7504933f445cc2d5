"""Cross-validation tables, tidy and in the papers' own form."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
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
from renal.report.published import OTHERS_REACH, lines_of

if TYPE_CHECKING:
    from renal.report.settings import Row

GRIDS = ("native", "resampled", "ceiling")
# What is known of other programs' models.
TRAINED_ON_THESE = {
    True: "whose models were trained on these cases",
    False: "whose models were not trained on these cases",
    "unknown": "whose models may have been trained on these cases",
}
COLUMNS = ["method", "family", "grid", "metric", "mean", "sd", "folds", "cases", "published"]

NOTES = (
    "Mean (SD over the folds' means, with n - 1). {regions}Two empty masks score 1, one empty "
    "mask 0. HD95 as MONAI defines it, over the cases in which both masks exist. Surface "
    "Dice by voxels counts boundary voxels, as MONAI does; by areas it is DeepMind's, by which "
    "KiTS21 and KiTS23 are scored. "
    "Volume error is (predicted - true) / true. "
    "A lesion counts as found if a predicted voxel overlaps it. Where a metric is defined for "
    "fewer cases than the row has, n says for how many. Our models "
    "predicted every case by the one that had not seen it."
)


def grid_titles(labels: Labels = KITS19) -> dict[str, str]:
    """Title of the table of each grid."""
    official = {"kits19": "official KiTS19 ", "kits23": "official KiTS23 "}.get(labels.name, "")
    return {
        "native": f"Native grid, {official}Dice",
        "resampled": "Each method's own grid",
        "ceiling": "Ceiling: the truth through the method's grids, on the native grid",
    }


def general_notes(labels: Labels = KITS19) -> str:
    """How the tables are to be read, whatever the methods."""
    names = {**labels.tissues, labels.own_value(labels.regions[0]): labels.regions[0].name}
    parts = []
    for region in labels.regions:
        *others, last = (names[value] for value in region.labels)
        if others:
            parts.append(f'"{region.title}" is {", ".join(others)} and {last} together')
    official = ", as in the official metric" if labels.name else ""
    return NOTES.format(regions=f"{', '.join(parts)}{official}. " if parts else "")


def dice_titles(labels: Labels) -> dict[str, str]:
    """Title of each column of the scores that is a Dice."""
    titles = {f"{region.name}_dice": f"{region.title} Dice" for region in labels.regions}
    return titles | {"composite": "Composite"}


def further_titles(labels: Labels) -> dict[str, str]:
    """Title of each other metric."""
    regions = labels.regions
    return (
        {f"{r.name}_hd95": f"{r.title} HD95, mm" for r in regions}
        | {
            f"{r.name}_{column}": f"{r.title} surface Dice by {what}, {r.tolerance_mm:.3g} mm"
            for column, what in (("surface_dice", "voxels"), ("surface_area_dice", "areas"))
            for r in regions
        }
        | {f"{r.name}_volume_error": f"{r.title} volume error" for r in regions}
        | {f"{r.name}s_found": f"{r.title}s found" for r in regions if r.lesion}
        | {f"located_{r.name}": f"{r.title} within the located regions" for r in regions}
    )


def cross_validation(
    scores: pd.DataFrame,
    methods: dict[str, "Row"],
    labels: Labels = KITS19,
    annotators: Path | None = None,
) -> pd.DataFrame:
    """Mean and SD over the folds' means, for each method, grid and metric.

    Parameters
    ----------
    scores : pandas.DataFrame
        Rows of every method's scores.csv.
    methods : dict
        Method name to its recipe, in the order of the table.
    labels : Labels
        The regions that were scored.
    annotators : Path, optional
        Scores of annotators among themselves, which are told by the mean alone.

    Returns
    -------
    pandas.DataFrame
        Tidy, with columns `COLUMNS`. `cases` counts those in which the metric is defined.
    """
    scores = with_found(scores, labels)
    metrics = [*dice_titles(labels), *further_titles(labels)]
    told = annotators_means(annotators, metrics, labels, set(scores["case"])) if annotators else []
    rows: list[list[object]] = [
        [ANNOTATORS, "", "native", metric, mean, None, 0, count, None]
        for metric, mean, count in told
    ]
    for name, method in methods.items():
        for grid in GRIDS:
            part = scores[(scores["method"] == name) & (scores["grid"] == grid)]
            for metric in metrics:
                values = part.dropna(subset=[metric])
                means = values.astype({metric: float}).groupby("fold")[metric].mean()
                row = [name, method.family, grid, metric, means.mean(), means.std()]
                figure = published(method, grid, metric, labels.name)
                rows.append([*row, len(means), len(values), figure])
    return pd.DataFrame(rows, columns=COLUMNS)


def published(method: "Row", grid: str, metric: str, scheme: str) -> float | None:
    """The paper's mean by a scheme of labels, beside the grid that the paper reports on."""
    told = method.published
    if told is None or (told.grid, told.labels) != (grid, scheme):
        return None
    figure = _figure(method, metric)
    return None if figure is None else figure[0]


def _figure(method: "Row", metric: str) -> tuple[float, float | None] | None:
    """The paper's mean Dice and, where it gives one, its SD."""
    if method.published is None:
        return None
    dice = {(f"{k}_dice" if k != "composite" else k): v for k, v in method.published.dice.items()}
    return dice.get(metric)


def _cell(mean: float, sd: float) -> str:
    if pd.isna(mean):
        return "-"
    return f"{mean:.3f}" if pd.isna(sd) else f"{mean:.3f} ({sd:.3f})"


def _form(table: pd.DataFrame, methods: dict[str, "Row"], grid: str, metrics: Any) -> Any:
    """One row a method, one column a metric, cells as mean (SD)."""
    rows = []
    for name, method in methods.items():
        part = table[(table["method"] == name) & (table["grid"] == grid)].set_index("metric")
        if not part["cases"].max():  # a row without a grid of its own
            continue
        row = {"Method": f"{method.title} (`{name}`)", **_cells(part, metrics)}
        for metric, title in metrics.items():
            figure = _figure(method, metric)
            if figure is not None and pd.notna(part.loc[metric, "published"]):
                row[title] += (
                    f" [{_cell(*(np.nan if value is None else value for value in figure))}]"
                )
        counts = {"Cases": "cases", "Folds": "folds"}
        row |= {title: str(part[c].max()) for title, c in counts.items() if c in part}
        rows.append(row)
    return pd.DataFrame(rows)


def _cells(part: Any, metrics: dict[str, str]) -> dict[str, str]:
    """Title to mean and SD, and of how many cases where a metric is defined for fewer."""
    most = part["cases"].max()
    cells = {}
    for metric, title in metrics.items():
        cases = part.loc[metric, "cases"]
        cells[title] = _cell(part.loc[metric, "mean"], part.loc[metric, "sd"])
        cells[title] += f", n={cases}" if 0 < cases < most else ""
    return cells


def native_form(table: pd.DataFrame, methods: dict[str, "Row"], metrics: Any) -> pd.DataFrame:
    """A form of the native grid, with a row of annotators among themselves where there are any."""
    form: pd.DataFrame = _form(table, methods, "native", metrics)
    part = table[table["method"] == ANNOTATORS].set_index("metric")
    if not part.empty:
        row = {"Method": ANNOTATORS.capitalize(), **_cells(part, metrics)}
        row["Cases"] = str(part["cases"].max())
        form = pd.concat([form, pd.DataFrame([row])]).fillna("")
    return form


def forms(
    table: pd.DataFrame, methods: dict[str, "Row"], labels: Labels = KITS19
) -> dict[str, pd.DataFrame]:
    """Title to table in the papers' form: Dice on each grid, then the other metrics.

    Papers with several rows, such as an ablation, have tables of their own beside those of all.
    """
    dice = dice_titles(labels)
    titles = grid_titles(labels)
    tables = {title: _form(table, methods, grid, dice) for grid, title in titles.items()}
    tables = {title: form for title, form in tables.items() if len(form)}
    others = [[*line, "", ""] for line in lines_of(OTHERS_REACH.get(labels.name, {}), dice)]
    native = native_form(table, methods, dice)
    tables[titles["native"]] = pd.concat([native, pd.DataFrame(others, columns=native.columns)])
    tables["Further metrics, native grid"] = native_form(table, methods, further_titles(labels))
    families = dict.fromkeys(method.family for method in methods.values())
    for family in families if len(families) > 1 else ():
        rows = {name: method for name, method in methods.items() if method.family == family}
        if len(rows) > 1:
            for grid in ("native", "resampled"):
                form = _form(table, rows, grid, dice)
                if len(form):
                    tables[f"{family}: {titles[grid]}"] = form
    return tables


def markdown(table: pd.DataFrame, methods: dict[str, "Row"], labels: Labels = KITS19) -> str:
    """Tables as Markdown; a published figure stands in brackets beside ours."""
    tables = markdown_tables(forms(table, methods, labels))
    return "\n".join(["# Cross-validation", "", *tables, notes(table, methods, labels), ""])


def markdown_tables(tables: dict[str, pd.DataFrame]) -> list[str]:
    """Lines of Markdown for tables of text, each under its title."""
    parts = []
    for title, form in tables.items():
        rows = [list(form.columns), ["---"] * len(form.columns), *form.to_numpy().tolist()]
        lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
        parts += [f"## {title}", "", *(f"| {line} |" for line in lines), ""]
    return parts


def latex(table: pd.DataFrame, methods: dict[str, "Row"], labels: Labels = KITS19) -> str:
    """Tables as LaTeX, for booktabs."""
    parts = []
    below = notes(table, methods, labels)
    for title, form in forms(table, methods, labels).items():
        lines = [" & ".join(_escaped(str(cell)) for cell in row) for row in form.to_numpy()]
        head = " & ".join(_escaped(column) for column in form.columns)
        parts += [
            r"\begin{table}",
            rf"\caption{{{_escaped(title)}. {_escaped(below)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(form.columns) - 1)}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *(line + r" \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    return "\n".join(parts)


def notes(table: pd.DataFrame, methods: dict[str, "Row"], labels: Labels = KITS19) -> str:
    """How the tables are to be read."""
    quoted = set(table.loc[table["published"].notna(), "method"])
    sources = [
        f"{name}: {method.published.where}"
        for name, method in methods.items()
        if method.published and name in quoted
    ]
    notes = general_notes(labels) + notes_on_annotators(table) + notes_on(methods)
    return notes + (f" Published figures in brackets: {'; '.join(sources)}." if sources else "")


def notes_on(methods: dict[str, "Row"]) -> str:
    """What must be known of the rows of the tables; begins with a space."""
    notes = ""
    watched = [name for name, method in methods.items() if method.validated]
    if watched:
        notes += (
            f" Learning rate, stopping or checkpoint of {', '.join(watched)} were steered by cases "
            "split off the training folds, never by the fold that is reported."
        )
    planned = [name for name, method in methods.items() if method.planned_on_these]
    if planned:
        notes += (
            f" nnU-Net's plans for {', '.join(planned)} follow sizes, spacings and intensities of "
            "all labelled cases, those of the fold that is reported included."
        )
    return notes + notes_on_others(methods)


def notes_on_others(methods: dict[str, "Row"]) -> str:
    """What must be known of segmentations of other programs; begins with a space."""
    notes = ""
    for known, words in TRAINED_ON_THESE.items():
        rows = [name for name, method in methods.items() if method.trained_on_these == known]
        if rows:
            notes += f" Other programs' segmentations, {words}: {', '.join(rows)}."
    left_out = [f"{name} {method.missing}" for name, method in methods.items() if method.missing]
    if left_out:
        notes += f" Cases without a segmentation, scored as empty: {', '.join(left_out)}."
    return notes


LATEX = str.maketrans(
    {character: "\\" + character for character in "&%_#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": ""}
)


def _escaped(text: str) -> str:
    return text.translate(LATEX)


def write_tables(
    scores: list[Path],
    methods: dict[str, "Row"],
    output: Path,
    labels: Labels = KITS19,
    annotators: Path | None = None,
) -> None:
    """Write cv.csv, cv.md, cv.tex and cv.html into the folder `output`.

    Raises
    ------
    InputError
        If methods were not scored on the same cases, each once.
    """
    collected = read_scores(scores, list(methods), labels)
    table = cross_validation(collected, methods, labels, annotators)
    write_text(output / "cv.csv", table.to_csv(index=False, float_format="%.6f"))
    write_text(output / "cv.md", markdown(table, methods, labels))
    write_text(output / "cv.tex", latex(table, methods, labels))
    tables = forms(table, methods, labels)
    write_text(output / "cv.html", html_page(tables, notes(table, methods, labels)))


def read_scores(paths: list[Path], methods: list[str], labels: Labels) -> pd.DataFrame:
    """The scores of methods on the same cases.

    Raises
    ------
    InputError
        If methods were not scored on the same cases, each once.
    """
    found = {f"{r.name}s_found": f"{r.name}_detection" for r in labels.regions if r.lesion}
    metrics = [found.get(name, name) for name in (*dice_titles(labels), *further_titles(labels))]
    columns = ["case", "method", "grid", "fold", *metrics]
    scores = pd.concat([read_table(path, columns) for path in paths])
    cases = {name: set(scores["case"][scores["method"] == name]) for name in methods}
    for name, scored in cases.items():
        rows = scores[scores["method"] == name]
        same = scored and scored == cases[methods[0]]
        if not same or rows.duplicated(["case", "grid"]).any():
            raise InputError(
                f"{name}/{paths[0].name}: {len(scored)} cases in {len(rows)} rows, other cases "
                f"than {methods[0]}, or some twice: delete it and run the workflow again"
            )
    return scores


def html_page(tables: dict[str, pd.DataFrame], notes: str) -> str:
    """A page of tables of text, each under its title, and notes below."""
    style = "body{font-family:sans-serif} td,th{padding:.3em 1em;text-align:left}"
    parts = [f"<!doctype html><meta charset='utf-8'><style>{style}</style>"]
    for title, form in tables.items():
        parts += [
            f"<h3>{escape(title, quote=False)}</h3>",
            form.to_html(index=False, border=0).replace("`", ""),
        ]
    return "\n".join([*parts, f"<p>{escape(notes, quote=False)}</p>", ""])
