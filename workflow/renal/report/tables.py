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

if TYPE_CHECKING:
    from renal.report.settings import Row

GRIDS = {
    "native": "Native grid, official KiTS19 Dice",
    "resampled": "Each method's own grid",
    "ceiling": "Ceiling: the truth through the method's grids, on the native grid",
}
# What others report on the same data, for orientation: mean Dice of regions.
OTHERS_REACH = {
    "nnU-Net 3d_fullres, five-fold cross-validation, published": {
        "kidney": 0.970,
        "tumour": 0.837,
        "composite": 0.904,
    },
    "KiTS19 winner, test set, published": {"kidney": 0.974, "tumour": 0.851, "composite": 0.912},
    "nnU-Net, open leaderboard 2020, test set, published": {
        "kidney": 0.979,
        "tumour": 0.854,
        "composite": 0.917,
    },
    "Two human annotators against each other, published": {
        "kidney": 0.983,
        "tumour": 0.923,
        "composite": 0.953,
    },
}
# What is known of other programs' models.
TRAINED_ON_THESE = {
    True: "whose models were trained on these cases",
    False: "whose models were not trained on these cases",
    "unknown": "whose models may have been trained on these cases",
}
COLUMNS = ["method", "family", "grid", "metric", "mean", "sd", "folds", "cases", "published"]

NOTES = (
    'Mean (SD over the folds of the folds\' means). "Kidney" is kidney and tumour together, as in '
    "the official metric; two empty masks score 1, one empty mask 0. HD95 as MONAI defines it, "
    "over the cases in which both masks exist. Volume error is (predicted - true) / true. "
    "A tumour counts as found if a predicted voxel overlaps it. Where a metric is defined for "
    "fewer cases than the row has, n says for how many. Our models "
    "predicted every case by the one that had not seen it."
)


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
            f"{r.name}_surface_dice": f"{r.title} surface Dice, {r.tolerance_mm:g} mm"
            for r in regions
        }
        | {f"{r.name}_volume_error": f"{r.title} volume error" for r in regions}
        | {f"{r.name}s_found": f"{r.title}s found" for r in regions if r.lesion}
        | {f"located_{r.name}": f"{r.title} within the located regions" for r in regions}
    )


def cross_validation(
    scores: pd.DataFrame, methods: dict[str, "Row"], labels: Labels = KITS19
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

    Returns
    -------
    pandas.DataFrame
        Tidy, with columns `COLUMNS`. `cases` counts those in which the metric is defined.
    """
    scores = scores.copy()
    for region in labels.regions:
        if region.lesion:
            detection = scores[f"{region.name}_detection"]
            there = detection.isin(["found", "missed"])
            scores[f"{region.name}s_found"] = (detection == "found").where(there)
    metrics = [*dice_titles(labels), *further_titles(labels)]
    rows = []
    for name, method in methods.items():
        for grid in GRIDS:
            part = scores[(scores["method"] == name) & (scores["grid"] == grid)]
            for metric in metrics:
                values = part.dropna(subset=[metric])
                means = values.astype({metric: float}).groupby("fold")[metric].mean()
                row = [name, method.family, grid, metric, means.mean(), means.std()]
                rows.append([*row, len(means), len(values), _published(method, grid, metric)])
    return pd.DataFrame(rows, columns=COLUMNS)


def _published(method: "Row", grid: str, metric: str) -> float | None:
    """The paper's mean, beside the grid that the paper reports on."""
    if method.published is None or grid != method.published.grid:
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
        row = {"Method": f"{method.title} (`{name}`)"}
        counts = part[["cases", "folds"]].max()
        for metric, title in metrics.items():
            row[title] = _cell(part.loc[metric, "mean"], part.loc[metric, "sd"])
            if 0 < part.loc[metric, "cases"] < counts["cases"]:
                row[title] += f", n={part.loc[metric, 'cases']}"
            figure = _figure(method, metric)
            if figure is not None and pd.notna(part.loc[metric, "published"]):
                row[title] += (
                    f" [{_cell(*(np.nan if value is None else value for value in figure))}]"
                )
        if not counts["cases"]:  # a row without a grid of its own
            continue
        row["Cases"] = str(counts["cases"])
        row["Folds"] = str(counts["folds"])
        rows.append(row)
    return pd.DataFrame(rows)


def forms(
    table: pd.DataFrame, methods: dict[str, "Row"], labels: Labels = KITS19
) -> dict[str, pd.DataFrame]:
    """Title to table in the papers' form: Dice on each grid, then the other metrics.

    Papers with several rows, such as an ablation, have tables of their own beside those of all.
    """
    dice = dice_titles(labels)
    tables = {title: _form(table, methods, grid, dice) for grid, title in GRIDS.items()}
    tables = {title: form for title, form in tables.items() if len(form)}
    others = [
        [name, *(_reached(figures, metric) for metric in dice), "", ""]
        for name, figures in OTHERS_REACH.items()
    ]
    native = tables[GRIDS["native"]]
    tables[GRIDS["native"]] = pd.concat([native, pd.DataFrame(others, columns=native.columns)])
    tables["Further metrics, native grid"] = _form(table, methods, "native", further_titles(labels))
    families = dict.fromkeys(method.family for method in methods.values())
    for family in families if len(families) > 1 else ():
        rows = {name: method for name, method in methods.items() if method.family == family}
        if len(rows) > 1:
            for grid in ("native", "resampled"):
                form = _form(table, rows, grid, dice)
                if len(form):
                    tables[f"{family}: {GRIDS[grid]}"] = form
    return tables


def _reached(figures: dict[str, float], metric: str) -> str:
    value = figures.get(metric.removesuffix("_dice"))
    return "-" if value is None else f"{value:.3f}"


def markdown(table: pd.DataFrame, methods: dict[str, "Row"], labels: Labels = KITS19) -> str:
    """Tables as Markdown; a published figure stands in brackets beside ours."""
    tables = markdown_tables(forms(table, methods, labels))
    return "\n".join(["# Cross-validation", "", *tables, NOTES + notes_on(methods), ""])


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
    for title, form in forms(table, methods, labels).items():
        lines = [" & ".join(_escaped(str(cell)) for cell in row) for row in form.to_numpy()]
        head = " & ".join(_escaped(column) for column in form.columns)
        parts += [
            r"\begin{table}",
            rf"\caption{{{_escaped(title)}. {_escaped(NOTES + notes_on(methods))}}}",
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
    sources = [f"{name}: {m.published.where}" for name, m in methods.items() if m.published]
    if sources:
        notes += f" Published figures in brackets: {'; '.join(sources)}."
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
    scores: list[Path], methods: dict[str, "Row"], output: Path, labels: Labels = KITS19
) -> None:
    """Write cv.csv, cv.md, cv.tex and cv.html into the folder `output`.

    Raises
    ------
    InputError
        If methods were not scored on the same cases, each once.
    """
    collected = pd.concat([read_table(path, _columns(labels)) for path in scores])
    _refuse_other_cases(collected, list(methods))
    table = cross_validation(collected, methods, labels)
    write_text(output / "cv.csv", table.to_csv(index=False, float_format="%.6f"))
    write_text(output / "cv.md", markdown(table, methods, labels))
    write_text(output / "cv.tex", latex(table, methods, labels))
    tables = forms(table, methods, labels)
    write_text(output / "cv.html", html_page(tables, NOTES + notes_on(methods)))


def _refuse_other_cases(scores: pd.DataFrame, methods: list[str]) -> None:
    first = None
    for name in methods:
        rows = scores[scores["method"] == name]
        found = set(rows["case"])
        first = found if first is None else first
        if not found or found != first or rows.duplicated(["case", "grid"]).any():
            raise InputError(
                f"{name}/scores.csv: {len(found)} cases in {len(rows)} rows, other cases than "
                f"{methods[0]}, or some twice: delete it and run the workflow again"
            )


def _columns(labels: Labels) -> list[str]:
    """What scores must have."""
    found = {f"{r.name}s_found": f"{r.name}_detection" for r in labels.regions if r.lesion}
    metrics = [*dice_titles(labels), *further_titles(labels)]
    return ["method", "grid", "fold", *(found.get(metric, metric) for metric in metrics)]


def html_page(tables: dict[str, pd.DataFrame], notes: str) -> str:
    """A page of tables of text, each under its title, and notes below."""
    style = "body{font-family:sans-serif} td,th{padding:.3em 1em;text-align:left}"
    parts = [f"<!doctype html><meta charset='utf-8'><style>{style}</style>"]
    for title, form in tables.items():
        parts += [f"<h3>{title}</h3>", form.to_html(index=False, border=0).replace("`", "")]
    return "\n".join([*parts, f"<p>{escape(notes, quote=False)}</p>", ""])
