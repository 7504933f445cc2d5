"""The comparison of rows as pictures, of pixels and as vectors."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from renal.handover.comparison import LEVEL, SCHEMES
from renal.labels import KITS19, Labels
from renal.report.pictures import COLOURS, plt, save
from renal.report.tables import dice_titles, further_titles

MARKERS = "osD^vP"  # for print without colour
WORSE, UNDECIDED, BETTER = "#e69f00", "#eeeeee", "#0072b2"
MARKS = {1: ("+", "white"), -1: ("\N{MINUS SIGN}", "black")}  # on these colours, in print too
NAMED = 3  # cases of a scatter plot
BLOB_POINTS = 150.0  # area of a place that a row always has, in square points
ACROSS = 3  # panels side by side


def draw_comparison(tables: Path, listed: Path, output: Path, labels: Labels = KITS19) -> None:
    """Draw values, tests, places and how sure they are, and how pairs and sizes of cases do.

    Parameters
    ----------
    tables : Path
        The folder that compare wrote.
    listed : Path
        cases.csv, with the volumes and spacings of the cases.
    output : Path
        Folder for compare_{values,tests,places,blobs,scatter,size}.png and .svg.
    labels : Labels
        The regions that were scored.
    """
    named = dice_titles(labels) | further_titles(labels)
    cases = pd.read_csv(tables / "compare_cases.csv")
    rows = pd.read_csv(tables / "compare_rows.csv")
    pairs = pd.read_csv(tables / "compare.csv", keep_default_na=False)
    sampled = pd.read_csv(tables / "compare_places.csv")
    values = {
        metric: part.pivot(index="case", columns="alg_name", values="value")
        for metric in named
        if len(part := cases[cases["task"] == metric])
    }
    titles = {metric: named[metric] for metric in values}
    best_first = {
        str(metric): part.sort_values(["rank_mean", "row"])["row"].tolist()
        for metric, part in rows.groupby("metric")
    }
    inner = next(m for m in (f"{name}_dice" for name in reversed(labels.names)) if m in values)
    sizes = pd.read_csv(listed).set_index("case")
    pictures: dict[str, Callable[[], Figure]] = {
        "values": lambda: _values(values, best_first, titles),
        "tests": lambda: _tests(pairs, best_first, titles),
        "places": lambda: _places(rows, best_first, titles),
        "blobs": lambda: _blobs(sampled, rows, best_first, titles),
        "scatter": lambda: _scatter(values[inner], best_first[inner], titles[inner]),
        "size": lambda: _size(values[inner], best_first[inner], titles[inner], inner, sizes),
    }
    for name, draw in pictures.items():
        with plt.rc_context({"svg.hashsalt": name}):  # the same picture has the same bytes
            figure = draw()
            for ending in ("png", "svg"):
                save(figure, output / f"compare_{name}.{ending}")


def _panels(
    titles: dict[str, str], width: float, height: float
) -> tuple[Figure, Iterator[tuple[str, Axes]]]:
    """A panel of so many inches for each metric."""
    columns = min(len(titles), ACROSS)
    lines = math.ceil(len(titles) / columns)
    size = (width * columns + 1, height * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    panels = axes.ravel().tolist()
    for panel, title in zip(panels, titles.values(), strict=False):
        panel.set_title(title, fontsize="medium")
    for panel in panels[len(titles) :]:
        panel.axis("off")
    return figure, zip(titles, panels, strict=False)


def _most(best_first: dict[str, list[str]], titles: dict[str, str]) -> int:
    """The largest number of rows in a panel."""
    return max(len(best_first[metric]) for metric in titles)


def _longest(best_first: dict[str, list[str]], titles: dict[str, str]) -> float:
    """Inches that the longest name of a row takes."""
    return 0.09 * max(len(name) for metric in titles for name in best_first[metric])


def _values(
    values: dict[str, pd.DataFrame], best_first: dict[str, list[str]], titles: dict[str, str]
) -> Figure:
    """A box and the single cases of each row."""
    figure, panels = _panels(titles, 4.2, 1.4 + 0.3 * _most(best_first, titles))
    random = np.random.default_rng(0)
    for metric, panel in panels:
        names = best_first[metric]
        columns = [values[metric][name].dropna() for name in names]
        panel.boxplot(columns, orientation="horizontal", showfliers=False, widths=0.6)
        for place, column in enumerate(columns, start=1):
            heights = place + random.uniform(-0.2, 0.2, len(column))
            panel.plot(column, heights, "o", color=COLOURS[0], alpha=0.4, markersize=2.5)
        panel.set_yticks(range(1, len(names) + 1), names)
        panel.invert_yaxis()
        if metric.endswith("_hd95"):
            panel.set_xlim(left=0)
        else:
            panel.set_xlim(-0.02, 1.02)
        panel.grid(axis="x", alpha=0.3)
    return figure


def _tests(pairs: pd.DataFrame, best_first: dict[str, list[str]], titles: dict[str, str]) -> Figure:
    """Which row is better than which, after Holm."""
    side = 0.6 + 0.36 * _most(best_first, titles) + _longest(best_first, titles)
    figure, panels = _panels(titles, max(side, 3.2), side)  # wide enough for titles
    for metric, panel in panels:
        names = best_first[metric]
        matrix = np.full((len(names), len(names)), np.nan)
        shares = np.zeros(matrix.shape, bool)
        for pair in pairs[pairs["metric"] == metric].to_dict("records"):
            one, other = (names.index(pair[end]) for end in ("first", "second"))
            sign = {pair["first"]: 1, pair["second"]: -1}.get(pair["better"], 0)
            matrix[one, other], matrix[other, one] = sign, -sign
            shares[one, other] = shares[other, one] = pair["dependent"]
        colours = ListedColormap([WORSE, UNDECIDED, BETTER])
        panel.imshow(matrix, cmap=colours, vmin=-1.5, vmax=1.5)
        for (line, column), sign in np.ndenumerate(matrix):
            mark, colour = MARKS.get(sign, ("", "black"))
            mark += "*" if shares[line, column] else ""
            panel.text(column, line, mark, ha="center", va="center", color=colour, weight="bold")
        panel.set_xticks(range(len(names)), names, rotation=90)
        panel.set_yticks(range(len(names)), names)
    legend = f"+ the row on the left is better (p after Holm < {LEVEL})"
    if pairs["dependent"].any():
        legend += "\n* the two share a trained stage, a member or a file"
    figure.supxlabel(legend, fontsize=8)
    return figure


def _places(rows: pd.DataFrame, best_first: dict[str, list[str]], titles: dict[str, str]) -> Figure:
    """Each row's place by three ways to rank, with intervals."""
    figure, panels = _panels(titles, 4.2, 1.4 + 0.3 * _most(best_first, titles))
    for metric, panel in panels:
        names = best_first[metric]
        part = rows[rows["metric"] == metric].set_index("row").loc[names]
        for number, (scheme, word) in enumerate(SCHEMES.items()):
            place = part[f"rank_{scheme}"]
            ends = [place - part[f"rank_{scheme}_low"], part[f"rank_{scheme}_high"] - place]
            heights = np.arange(1, len(names) + 1) + 0.22 * (number - 1)
            panel.errorbar(
                *(place, heights),
                xerr=np.clip(ends, 0, None),
                fmt=MARKERS[number],
                color=COLOURS[number],
                markersize=4,
                label=word,
            )
        panel.set_yticks(range(1, len(names) + 1), names)
        panel.invert_yaxis()
        panel.set_xlim(0.5, len(names) + 0.5)
        panel.set_xlabel("place, 95 % interval")
        panel.locator_params(axis="x", integer=True)
        panel.grid(axis="x", alpha=0.3)
    figure.legend(*panel.get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    return figure


def _blobs(
    sampled: pd.DataFrame,
    rows: pd.DataFrame,
    best_first: dict[str, list[str]],
    titles: dict[str, str],
) -> Figure:
    """In which share of the bootstrap samples a row has which place by the mean.

    As challengeR draws how stable a ranking is (Wiesenfarth et al. 2021): a column of
    blobs for each row, whose areas are the shares, with the median and the 95 % interval.
    """
    side = 0.8 + 0.4 * _most(best_first, titles)
    figure, panels = _panels(titles, max(side, 3.2), side + _longest(best_first, titles))
    for metric, panel in panels:
        names = best_first[metric]
        part = sampled[(sampled["metric"] == metric) & (sampled["scheme"] == "mean")]
        ends = rows[rows["metric"] == metric].set_index("row").loc[names]
        for column, name in enumerate(names if len(part) else []):
            own = part[part["row"] == name].sort_values("place")
            panel.scatter(
                [column] * len(own),
                own["place"],
                s=BLOB_POINTS * own["share"],
                color=COLOURS[4],
                linewidths=0,
            )
            median = own["place"][own["share"].cumsum() >= 0.5 - 1e-9].iloc[0]
            panel.plot(column, median, "x", color="black", markersize=6)
            interval = [float(ends[f"rank_mean_{end}"][name]) for end in ("low", "high")]
            panel.plot([column, column], interval, color="black", linewidth=1)
        panel.set_xticks(range(len(names)), names, rotation=90)
        panel.set_xlim(-0.6, len(names) - 0.4)
        panel.set_ylim(len(names) + 0.6, 0.4)
        panel.locator_params(axis="y", integer=True)
        panel.grid(alpha=0.2)
    figure.supylabel("place by mean", fontsize=8)
    figure.supxlabel(
        "area: share of bootstrap samples, cross: median, line: 95 % interval", fontsize=8
    )
    return figure


def _scatter(values: pd.DataFrame, names: list[str], title: str) -> Figure:
    """The first row against those that follow it, case by case; the worst of each are named."""
    best, others = names[0], names[1 : 1 + len(COLOURS)]
    size = (3.4 * len(others) + 0.6, 3.8)
    figure, axes = plt.subplots(1, len(others), figsize=size, squeeze=False, layout="constrained")
    figure.suptitle(title + _shown(1 + len(others), names))
    for panel, other in zip(axes[0], others, strict=True):
        pair = values[[best, other]].dropna()
        panel.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
        panel.plot(pair[best], pair[other], "o", color=COLOURS[0], alpha=0.6, markersize=3.5)
        for case, (x, y) in pair.loc[(pair[other] - pair[best]).nsmallest(NAMED).index].iterrows():
            panel.annotate(str(case), (x, y), fontsize=7, ha="right", va="top")
        panel.set_xlabel(best)
        panel.set_ylabel(other)
        panel.set_xlim(-0.02, 1.02)
        panel.set_ylim(-0.02, 1.02)
    return figure


def _size(
    values: pd.DataFrame, names: list[str], title: str, metric: str, sizes: pd.DataFrame
) -> Figure:
    """The Dice of the innermost region against its true volume and the slices' thickness."""
    region = metric.removesuffix("_dice")
    axes_of = {f"true {region}, ml": f"{region}_ml", "slice thickness, mm": "spacing_z_mm"}
    figure, axes = plt.subplots(1, len(axes_of), figsize=(10, 4.2), layout="constrained")
    for panel, (label, column) in zip(axes, axes_of.items(), strict=True):
        known = sizes.loc[values.index, column].astype(float)
        for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
            panel.plot(
                known, values[name], marker, color=colour, alpha=0.6, markersize=4, label=name
            )
        panel.set_xlabel(label)
        panel.set_ylim(-0.02, 1.02)
        panel.grid(alpha=0.3)
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set_xlim(left=0)
    axes[0].set_ylabel(title)
    axes[0].legend(fontsize=8)
    figure.suptitle(_shown(len(COLOURS), names).lstrip(", "))
    return figure


def _shown(most: int, names: list[str]) -> str:
    """That some rows are not shown, after a comma."""
    return f", first {most} of {len(names)} rows" if len(names) > most else ""
