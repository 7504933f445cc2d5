"""Pictures of results: overlays, training curves, and the graph of the rules."""

import json
import re
import subprocess
import sys
import tempfile
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from renal.cases import IMAGE, LABEL
from renal.errors import InputError
from renal.files import replacing
from renal.merge import segmentation_of
from renal.validation import CheckedCase
from renal.volume import read_header, read_label, read_volume

matplotlib.use("Agg")
from matplotlib import pyplot as plt

WINDOW_HU = (-125, 225)
COLOURS = {1: "#2ca9ff", 2: "#ff5a36"}  # kidney, tumour
RANKS = ("best", "median", "worst")


def _save(figure: plt.Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=figure.get_facecolor())
    plt.close(figure)


# -- overlays -----------------------------------------------------------------------------------


def ranked_cases(scores: pd.DataFrame) -> dict[str, pd.Series]:
    """The cases of best, median and worst composite Dice on the native grid."""
    native = scores[scores["grid"] == "native"].sort_values(["composite", "case"])
    positions = {"best": len(native) - 1, "median": len(native) // 2, "worst": 0}
    return {rank: native.iloc[positions[rank]] for rank in RANKS}


def draw_overlays(
    scores: Path, segmentations: Path, cases: dict[str, CheckedCase], output: Path
) -> None:
    """Draw image, truth and prediction of the best, median and worst case of a method.

    Parameters
    ----------
    scores : Path
        The method's scores.csv.
    segmentations : Path
        Folder of ``<case>.nii.gz``.
    cases : dict
        Name to `CheckedCase`.
    output : Path
        Folder for best.png, median.png and worst.png.
    """
    for rank, row in ranked_cases(pd.read_csv(scores)).items():
        case = cases[row["case"]]
        image = read_volume(read_header(Path(case.image)))
        truth = read_label(read_header(Path(case.label)))
        prediction = read_label(read_header(segmentation_of(segmentations, case.name)))
        title = (
            f"{rank} case, {case.name}: kidney Dice {row['kidney_dice']:.3f}, "
            f"tumour Dice {row['tumour_dice']:.3f} ({row['tumour_detection']})"
        )
        _draw_overlay(image, truth, prediction, case.spacing, title, output / f"{rank}.png")


def _draw_overlay(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    spacing: list[float],
    title: str,
    path: Path,
) -> None:
    """Axial slices above, coronal ones below: image, truth, prediction."""
    region = truth == 2 if (truth == 2).any() else truth > 0
    axial = int(region.sum(axis=(1, 2)).argmax())
    coronal = int(region.sum(axis=(0, 2)).argmax())
    depth, height, width = image.shape * np.array(spacing)
    figure, axes = plt.subplots(
        2,
        3,
        figsize=(12, 12 / 3 / width * (height + depth) + 0.7),
        height_ratios=[height, depth],
        facecolor="black",
        layout="constrained",
    )
    figure.suptitle(title, color="white")
    columns = {"image": None, "truth": truth, "prediction": prediction}
    for column, (name, label) in enumerate(columns.items()):
        axes[0, column].set_title(name, color="white")
        for row, (cut, aspect) in enumerate(
            ((np.s_[axial], spacing[1] / spacing[2]), (np.s_[:, coronal], spacing[0] / spacing[2]))
        ):
            panel = axes[row, column]
            panel.imshow(
                image[cut], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], aspect=aspect
            )
            panel.axis("off")
            if label is not None:
                _outline(panel, label[cut])
    handles = [plt.Line2D([], [], color=colour) for colour in COLOURS.values()]
    axes[0, 0].legend(handles, ["kidney", "tumour"], loc="lower left", fontsize=8)
    _save(figure, path)


def _outline(panel: plt.Axes, label: np.ndarray) -> None:
    for value, colour in COLOURS.items():
        mask = label >= value if value == 1 else label == value
        if mask.any():
            panel.contour(mask, levels=[0.5], colors=[colour], linewidths=1.1)


# -- training curves ----------------------------------------------------------------------------


def draw_curves(histories: dict[str, Path], title: str, output: Path) -> None:
    """Draw loss, Dice and learning rate over the epochs, a line for each fold.

    Where training cases were held back to watch, theirs are the dashed lines.

    Parameters
    ----------
    histories : dict
        Name of the fold to its history.csv.
    title : str
        Heading of the picture.
    output : Path
        PNG to write.
    """
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    figure.suptitle(title)
    for name, path in histories.items():
        history = pd.read_csv(path)
        for panel, column in zip(axes, ("loss", "dice", "learning_rate"), strict=True):
            (line,) = panel.plot(history["epoch"], history[column], label=name, linewidth=1)
            if f"validation_{column}" in history:
                watched = history[f"validation_{column}"]
                panel.plot(history["epoch"], watched, "--", color=line.get_color(), linewidth=1)
    for panel, name in zip(axes, ("loss", "Dice", "learning rate"), strict=True):
        panel.set_xlabel("epoch")
        panel.set_ylabel(name)
        panel.grid(alpha=0.3)
    axes[1].set_ylim(0, 1)
    axes[0].legend(fontsize=8)
    _save(figure, output)


# -- located regions ----------------------------------------------------------------------------


def draw_located(scores: Path, name: str, output: Path) -> None:
    """Draw which share of each case's kidney and tumour lies in the regions that were looked at.

    Parameters
    ----------
    scores : Path
        The method's scores.csv.
    name : str
        Heading of the picture.
    output : Path
        PNG to write.
    """
    table = pd.read_csv(scores)
    native = table[table["grid"] == "native"].sort_values(["located_kidney", "case"])
    figure, panel = plt.subplots(figsize=(8, 3.6), layout="constrained")
    panel.set_title(f"{name}: what the located regions hold")
    places = np.arange(1, len(native) + 1)
    for value, (part, column) in enumerate(
        (("kidney", "located_kidney"), ("tumour", "located_tumour")), start=1
    ):
        marker = "o" if value == 1 else "v"
        panel.plot(places, native[column], marker, color=COLOURS[value], label=part, markersize=5)
    panel.set_xlabel("cases, from the worst to the best located")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set_ylabel("share of voxels inside")
    panel.set_ylim(-0.05, 1.05)
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right")
    _save(figure, output)


# -- rule graph ---------------------------------------------------------------------------------


def draw_rule_graph(snakefile: Path, methods: list[str], folds: int, output: Path) -> None:
    """Draw which rule feeds which, as Snakemake plans them for some methods.

    Parameters
    ----------
    snakefile : Path
        The workflow.
    methods : list of str
        Names of recipes.
    folds : int
        Number of folds.
    output : Path
        PNG to write.
    """
    # Planned for stand-in cases, so that the picture depends on the rules and nothing else.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        for number in range(folds + 1):
            case = root / f"case_{number:05d}"
            case.mkdir(parents=True)
            (case / IMAGE).touch()
            if number < folds:
                (case / LABEL).touch()
        configuration = {
            "data": {"root": str(root), "exclude": []},
            "results": str(Path(folder) / "results"),
            "methods": methods,
            "folds": {"count": folds},
            "overrides": {},
        }
        configfile = Path(folder) / "config.json"
        configfile.write_text(json.dumps(configuration))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile.resolve())]
        command += ["--configfile", str(configfile), "--rulegraph", "dot", "--nolock"]
        planned = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if planned.returncode:
        reason = " ".join(planned.stderr.split())[-300:]
        raise InputError(f"{snakefile}: cannot be planned: {reason}")
    names = dict(re.findall(r"(\d+)\[label = \"(\w+)\"", planned.stdout))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", planned.stdout)}
    edges = {edge for edge in edges if not {"all", "draw_rule_graph"} & set(edge)}
    _draw_graph(_without_shortcuts(edges), output)


def _without_shortcuts(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Drop an edge where a longer way leads along: the picture shows the flow, not every input."""

    def reaches(start: str, goal: str, seen: frozenset[str]) -> bool:
        return any(
            b == goal or (b not in seen and reaches(b, goal, seen | {b}))
            for a, b in edges
            if a == start
        )

    return {
        (a, b)
        for a, b in edges
        if a != b
        and not any(c == a and d not in (a, b) and reaches(d, b, frozenset({a})) for c, d in edges)
    }


def _draw_graph(edges: set[tuple[str, str]], output: Path) -> None:
    rules = {rule for edge in edges for rule in edge}
    level = {rule: _level(rule, edges, frozenset()) for rule in rules}
    # An edge has a place in each row that it crosses, and so goes around the boxes there.
    crossings = {
        (a, b): [(a, b, depth) for depth in range(level[a] + 1, level[b])] for a, b in sorted(edges)
    }
    place = _places(level, crossings)
    left, right = (pick(x for x, _ in place.values()) for pick in (min, max))
    depth = max(level.values())
    size = (2.4 * (right - left + 1), 0.75 * (depth + 1))
    figure, panel = plt.subplots(figsize=size, layout="constrained")
    panel.set_xlim(left - 0.6, right + 0.6)
    panel.set_ylim(-depth - 0.6, 0.6)
    panel.axis("off")
    style = {"boxstyle": "round,pad=0.35", "facecolor": "#e8f1fa", "edgecolor": "#2c6fad"}
    boxes = {
        rule: panel.text(*place[rule], rule, ha="center", va="center", fontsize=9, bbox=style)
        for rule in sorted(rules)
    }
    for (start, end), crossed in crossings.items():
        way = [place[node] for node in (start, *crossed)]
        panel.plot(*zip(*way, strict=True), color="#888", linewidth=1, zorder=1)
        # Up again is the way of a later stage, which starts from what an earlier one predicted.
        up = level[end] < level[start]
        arrow = {"arrowstyle": "-|>", "color": "#888", "shrinkA": 0 if crossed else 2, "shrinkB": 2}
        arrow |= {"patchA": None if crossed else boxes[start].get_bbox_patch()}
        arrow |= {"patchB": boxes[end].get_bbox_patch()}
        arrow |= {"connectionstyle": "arc3,rad=0.25" if up else "arc3"}
        panel.annotate("", xy=place[end], xytext=way[-1], arrowprops=arrow)
    _save(figure, output)


def _places(
    level: dict[str, int], crossings: dict[tuple[str, str], list[tuple[str, str, int]]]
) -> dict[Any, tuple[float, float]]:
    """Where rules and crossings lie: a row for each level, each below what leads to it."""
    above: dict[Any, list[Any]] = {rule: [] for rule in level}
    rows: list[list[Any]] = [[] for _ in range(max(level.values()) + 1)]
    for rule in sorted(level):
        rows[level[rule]].append(rule)
    for (start, end), crossed in crossings.items():
        for a, b in pairwise([start, *crossed, end]):
            above.setdefault(b, []).append(a)
        for node in crossed:
            rows[node[2]].append(node)
    place: dict[Any, tuple[float, float]] = {}
    for depth, row in enumerate(rows):
        known = {node: [place[a][0] for a in above[node] if a in place] for node in row}
        row = sorted(row, key=lambda node: np.mean(known[node] or 0))
        widths = [1 if node in level else 0.3 for node in row]
        for node, width, end in zip(row, widths, accumulate(widths), strict=True):
            place[node] = (end - width / 2 - sum(widths) / 2, -depth)
    return place


def _level(rule: str, edges: set[tuple[str, str]], seen: frozenset[str]) -> int:
    above = [a for a, b in edges if b == rule and a not in seen]
    return 1 + max((_level(a, edges, seen | {rule}) for a in above), default=-1)
