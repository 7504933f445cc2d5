"""The comparison of rows as tables."""

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from renal.files import write_text
from renal.handover.comparison import SCHEMES
from renal.handover.tables import read_table
from renal.labels import KITS19, Labels
from renal.report.tables import (
    dice_titles,
    further_titles,
    html_page,
    markdown_tables,
    notes_on_others,
)

if TYPE_CHECKING:
    from renal.report.settings import Row

MOST_LISTED = 15  # pairs, of six rows; more are left to compare.csv
NOTES = (
    "On the native grid, over the cases that all rows share. Mean with its 95 % interval (BCa "
    "bootstrap over cases), median with quartiles, and the number of cases in which the metric "
    "is defined. Differences are paired, case by case: the first row minus the second. p is that "
    "of Wilcoxon's signed-rank test, two-sided, after Holm over all pairs of the table; a row is "
    "better than another where that is below 0.05. Detectable is the mean difference that a "
    "paired t test at 0.05, for this pair alone, finds in four of five studies with these cases: "
    "a smaller one may be there and be missed. Places are by the mean, by the mean of the ranks "
    "in each case, and by the number of rows that a row is better than, each with its 95 % "
    "interval over bootstrap samples of the cases; tau is Kendall's, between these ways to rank. "
    "A case failed where the Dice of the metric's region (of any for the composite) is 0. HD95 "
    "is not defined where one mask is empty or both: such a case is left out of means and tests, "
    "while in mean ranks the rows without a value come last; means that are ranked are of the "
    "cases in which every row has a value, and without such a case there is no place by mean. "
    "Two empty masks have a Dice of 1, one empty mask 0. "
    "Cases of one fold were segmented by the same model, which the tests do not know of. Pairs "
    "marked * share models or files, so they are alike by construction. Published figures have "
    "no cases of their own and are not tested."
)


def write_comparison(
    found: dict[str, pd.DataFrame],
    methods: dict[str, "Row"],
    output: Path,
    labels: Labels = KITS19,
) -> None:
    """Write compare.csv, compare_{rows,schemes,places,cases}.csv, compare.md and compare.html.

    Parameters
    ----------
    found : dict of str to pandas.DataFrame
        pairs, rows, schemes, places and cases, as `renal.evaluate.comparison.compare` finds them.
    methods : dict
        Row to its recipe.
    output : Path
        Folder to write into.
    labels : Labels
        The regions that were scored.
    """
    for name, table in found.items():
        path = _file_of(output, name)
        # challengeR reads NA; p has more digits than what is measured.
        exact = table.round(
            {c: 6 for c in table.select_dtypes("float") if c not in ("p", "p_holm")}
        )
        write_text(path, exact.to_csv(index=False, na_rep="NA" if name == "cases" else ""))
    tables = comparison_forms(found, labels)
    notes = NOTES + notes_on_others(methods)
    lines = ["# Comparison", "", *markdown_tables(tables), notes.replace("*", r"\*"), ""]
    write_text(output / "compare.md", "\n".join(lines))
    write_text(output / "compare.html", html_page(tables, notes))


def _file_of(folder: Path, name: str) -> Path:
    return folder / ("compare.csv" if name == "pairs" else f"compare_{name}.csv")


def read_comparison(folder: Path) -> dict[str, pd.DataFrame]:
    """What `comparison_forms` needs of the files that `write_comparison` wrote."""
    columns = {"pairs": ("metric", "better"), "rows": ("metric", "row"), "schemes": ("metric",)}
    found = {name: read_table(_file_of(folder, name), needed) for name, needed in columns.items()}
    found["pairs"]["better"] = found["pairs"]["better"].astype(object).fillna("")
    return found


def comparison_forms(
    found: dict[str, pd.DataFrame], labels: Labels = KITS19
) -> dict[str, pd.DataFrame]:
    """Title to table: for each metric its rows, its pairs where they are few, and tau."""
    titles = dice_titles(labels) | further_titles(labels)
    forms = {}
    for metric, rows in found["rows"].groupby("metric", sort=False):
        title = titles[str(metric)]
        pairs = found["pairs"][found["pairs"]["metric"] == metric]
        forms[title] = _row_form(rows, pairs)
        if len(pairs) <= MOST_LISTED:
            forms[f"{title}: pairs"] = _pair_form(pairs)
    forms["Agreement of the ways to rank, Kendall's tau"] = _scheme_form(found["schemes"], titles)
    return forms


def _row_form(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for row in rows.sort_values(["rank_mean", "row"]).to_dict("records"):
        name = row["row"]
        won = pairs[pairs["better"] == name]
        beaten = [
            (pair["second"] if pair["first"] == name else pair["first"])
            + ("*" if pair["dependent"] else "")
            for pair in won.to_dict("records")
        ]
        lines.append(
            {
                "Row": f"`{name}`",
                "Mean [95 %]": _interval(row["mean"], row["low"], row["high"]),
                "Median (quartiles)": (
                    f"{row['median']:.3f} "
                    f"({row['first_quartile']:.3f} to {row['third_quartile']:.3f})"
                ),
                "Cases": str(row["cases"]),
                "Failed": str(row["failures"]),
                "Place by mean": _place(row, "mean"),
                "by ranks": _place(row, "mean_rank"),
                "by tests": _place(row, "test"),
                "Better than": ", ".join(beaten) or "-",
            }
        )
    return pd.DataFrame(lines)


def _pair_form(pairs: pd.DataFrame) -> pd.DataFrame:
    lines = [
        {
            "Pair": f"`{pair['first']}` - `{pair['second']}`" + ("*" if pair["dependent"] else ""),
            "Mean difference [95 %]": _interval(pair["mean"], pair["low"], pair["high"]),
            "Median (quartiles)": (
                f"{pair['median']:+.3f} "
                f"({pair['first_quartile']:+.3f} to {pair['third_quartile']:+.3f})"
            ),
            "Cases": str(pair["cases"]),
            "p": "< 0.0001" if pair["p_holm"] < 1e-4 else f"{pair['p_holm']:.4f}",
            "Better": pair["better"] or "-",
            "Detectable": "-" if pd.isna(pair["detectable"]) else f"{pair['detectable']:.3f}",
        }
        for pair in pairs.to_dict("records")
    ]
    return pd.DataFrame(lines)


def _scheme_form(schemes: pd.DataFrame, titles: dict[str, str]) -> pd.DataFrame:
    pairs = schemes["scheme"].map(SCHEMES) + " and " + schemes["other"].map(SCHEMES)
    tau = schemes["kendall_tau"].map(lambda value: "-" if pd.isna(value) else f"{value:.2f}")
    table = pd.DataFrame({"Metric": schemes["metric"].map(titles), "pair": pairs, "tau": tau})
    wide = table.pivot(index="Metric", columns="pair", values="tau")
    return wide.loc[table["Metric"].unique(), pairs.unique()].reset_index()


def _interval(mean: float, low: float, high: float) -> str:
    if pd.isna(low):
        return "-" if pd.isna(mean) else f"{mean:.3f}"
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _place(row: dict[Hashable, Any], scheme: str) -> str:
    place, low, high = (row[f"rank_{scheme}{end}"] for end in ("", "_low", "_high"))
    return "-" if pd.isna(place) else f"{place:.0f} [{low:.0f}, {high:.0f}]"
