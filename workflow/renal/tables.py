"""Cross-validation tables, tidy and in the papers' own form."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from renal.files import write_text
from renal.metrics import KIDNEY_TOLERANCE_MM, TUMOUR_TOLERANCE_MM

if TYPE_CHECKING:
    from renal.recipe import Row

DICE = ("kidney_dice", "tumour_dice", "composite")
OTHERS = {
    "kidney_hd95": "Kidney HD95, mm",
    "tumour_hd95": "Tumour HD95, mm",
    "kidney_surface_dice": f"Kidney surface Dice, {KIDNEY_TOLERANCE_MM:g} mm",
    "tumour_surface_dice": f"Tumour surface Dice, {TUMOUR_TOLERANCE_MM:g} mm",
    "kidney_volume_error": "Kidney volume error",
    "tumour_volume_error": "Tumour volume error",
    "tumours_found": "Tumours found",
    "located_kidney": "Kidney within the located regions",
    "located_tumour": "Tumour within the located regions",
}
GRIDS = {
    "native": "Native grid, official KiTS19 Dice",
    "resampled": "Each method's own grid",
    "ceiling": "Ceiling: the truth through the method's grids, on the native grid",
}
# What others report on the same data, for orientation: kidney, tumour, composite.
OTHERS_REACH = {
    "nnU-Net 3d_fullres, five-fold cross-validation, published": (0.970, 0.837, 0.904),
    "KiTS19 winner, test set, published": (0.974, 0.851, 0.912),
    "nnU-Net, open leaderboard 2020, test set, published": (0.979, 0.854, 0.917),
    "Two human annotators against each other, published": (0.983, 0.923, 0.953),
}
COLUMNS = ["method", "family", "grid", "metric", "mean", "sd", "folds", "cases", "published"]

NOTES = (
    'Mean (SD over the folds of the folds\' means). "Kidney" is kidney and tumour together, as in '
    "the official metric; two empty masks score 1, one empty mask 0. HD95 as MONAI defines it, "
    "over the cases in which both masks exist. Volume error is (predicted - true) / true. "
    "A tumour counts as found if a predicted voxel overlaps it. Where a metric is defined for "
    "fewer cases than the row has, n says for how many. Every case was predicted by the model that "
    "had not seen it."
)


def cross_validation(scores: pd.DataFrame, methods: dict[str, "Row"]) -> pd.DataFrame:
    """Mean and SD over the folds' means, for each method, grid and metric.

    Parameters
    ----------
    scores : pandas.DataFrame
        Rows of every method's scores.csv.
    methods : dict
        Method name to its recipe, in the order of the table.

    Returns
    -------
    pandas.DataFrame
        Tidy, with columns `COLUMNS`. `cases` counts those in which the metric is defined.
    """
    scores = scores.copy()
    with_tumour = scores["tumour_detection"].isin(["found", "missed"])
    scores["tumours_found"] = (scores["tumour_detection"] == "found").where(with_tumour)
    rows = []
    for name, method in methods.items():
        for grid in GRIDS:
            part = scores[(scores["method"] == name) & (scores["grid"] == grid)]
            for metric in (*DICE, *OTHERS):
                values = part.dropna(subset=[metric])
                means = values.astype({metric: float}).groupby("fold")[metric].mean()
                row = [name, method.family, grid, metric, means.mean(), means.std()]
                rows.append([*row, len(means), len(values), _published(method, grid, metric)])
    return pd.DataFrame(rows, columns=COLUMNS)


def _published(method: "Row", grid: str, metric: str) -> float | None:
    """The paper's mean, beside the grid that the paper reports on."""
    published = method.published
    if published is None or grid != published.grid or metric not in DICE:
        return None
    figure = _figure(method, metric)
    return None if figure is None else figure[0]


def _figure(method: "Row", metric: str) -> tuple[float, float | None] | None:
    """The paper's mean and, where it gives one, its SD."""
    return getattr(method.published, metric.removesuffix("_dice"))


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
            if pd.notna(part.loc[metric, "published"]):
                figure = _figure(method, metric)
                row[title] += (
                    f" [{_cell(*(np.nan if value is None else value for value in figure))}]"
                )
        row["Cases"] = str(counts["cases"])
        row["Folds"] = str(counts["folds"])
        rows.append(row)
    return pd.DataFrame(rows)


def forms(table: pd.DataFrame, methods: dict[str, "Row"]) -> dict[str, pd.DataFrame]:
    """Title to table in the papers' form: Dice on each grid, then the other metrics.

    Papers with several rows, such as an ablation, have tables of their own beside those of all.
    """
    dice = {"kidney_dice": "Kidney Dice", "tumour_dice": "Tumour Dice", "composite": "Composite"}
    tables = {title: _form(table, methods, grid, dice) for grid, title in GRIDS.items()}
    others = [
        [name, *(f"{figure:.3f}" for figure in figures), "", ""]
        for name, figures in OTHERS_REACH.items()
    ]
    native = tables[GRIDS["native"]]
    tables[GRIDS["native"]] = pd.concat([native, pd.DataFrame(others, columns=native.columns)])
    tables["Further metrics, native grid"] = _form(table, methods, "native", OTHERS)
    families = dict.fromkeys(method.family for method in methods.values())
    for family in families if len(families) > 1 else ():
        rows = {name: method for name, method in methods.items() if method.family == family}
        if len(rows) > 1:
            for grid in ("native", "resampled"):
                tables[f"{family}: {GRIDS[grid]}"] = _form(table, rows, grid, dice)
    return tables


def markdown(table: pd.DataFrame, methods: dict[str, "Row"]) -> str:
    """Tables as Markdown; a published figure stands in brackets beside ours."""
    parts = ["# Cross-validation", ""]
    for title, form in forms(table, methods).items():
        rows = [list(form.columns), ["---"] * len(form.columns), *form.to_numpy().tolist()]
        lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows]
        parts += [f"## {title}", "", *(f"| {line} |" for line in lines), ""]
    return "\n".join([*parts, NOTES + _where(methods), ""])


def latex(table: pd.DataFrame, methods: dict[str, "Row"]) -> str:
    """Tables as LaTeX, for booktabs."""
    parts = []
    for title, form in forms(table, methods).items():
        lines = [" & ".join(_escaped(str(cell)) for cell in row) for row in form.to_numpy()]
        head = " & ".join(_escaped(column) for column in form.columns)
        parts += [
            r"\begin{table}",
            rf"\caption{{{_escaped(title)}. {_escaped(NOTES + _where(methods))}}}",
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


def _where(methods: dict[str, "Row"]) -> str:
    notes = ""
    watched = [name for name, method in methods.items() if method.validated]
    if watched:
        notes += (
            f" Learning rate, stopping or checkpoint of {', '.join(watched)} were steered by cases "
            "split off the training folds, never by the fold that is reported."
        )
    sources = [f"{name}: {m.published.where}" for name, m in methods.items() if m.published]
    if sources:
        notes += f" Published figures in brackets: {'; '.join(sources)}."
    return notes


LATEX = {character: "\\" + character for character in "&%_#${}"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": ""}


def _escaped(text: str) -> str:
    return text.translate(str.maketrans(LATEX))


def write_tables(scores: list[Path], methods: dict[str, "Row"], output: Path) -> None:
    """Write cv.csv, cv.md, cv.tex and cv.html into the folder `output`."""
    table = cross_validation(pd.concat([pd.read_csv(path) for path in scores]), methods)
    write_text(output / "cv.csv", table.to_csv(index=False, float_format="%.6f"))
    write_text(output / "cv.md", markdown(table, methods))
    write_text(output / "cv.tex", latex(table, methods))
    write_text(output / "cv.html", _page(table, methods))


def _page(table: pd.DataFrame, methods: dict[str, "Row"]) -> str:
    style = "body{font-family:sans-serif} td,th{padding:.3em 1em;text-align:left}"
    parts = [f"<!doctype html><meta charset='utf-8'><style>{style}</style>"]
    for title, form in forms(table, methods).items():
        parts += [f"<h3>{title}</h3>", form.to_html(index=False, border=0).replace("`", "")]
    return "\n".join([*parts, f"<p>{escape(NOTES + _where(methods), quote=False)}</p>", ""])
