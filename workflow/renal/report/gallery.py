"""The worst cases as all rows see them."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from renal.errors import InputError
from renal.handover.checked import CheckedCase
from renal.handover.tables import read_table
from renal.labels import KITS19, Labels
from renal.report.overlays import WINDOW_HU, outline
from renal.report.pictures import plt, save
from renal.report.ranked import columns_of, composites, mean_of_rows
from renal.report.viewed import TRUTH, read_segmented

CASES = 3
COLUMNS = 6  # of panels
INCHES = 2.2  # of a panel


@dataclass(frozen=True)
class Slice:
    """A slice of a case: (y, x) HU, label maps of truth and rows, and a voxel's height by width."""

    image: np.ndarray
    labels: dict[str, np.ndarray]
    aspect: float


def draw_gallery(
    scores: dict[str, Path],
    segmentations: dict[str, Path],
    cases: dict[str, CheckedCase],
    output: Path,
    labels: Labels = KITS19,
) -> None:
    """Draw the cases of the lowest mean composite of all rows: truth, and a panel for each row.

    The slice is that on which the truth's innermost region is largest.

    Parameters
    ----------
    scores : dict
        Row to its scores.csv.
    segmentations : dict
        Row to its folder of ``<case>.nii.gz``.
    cases : dict
        Name to `CheckedCase`.
    output : Path
        Folder for compare_worst.png and compare_worst.svg.
    labels : Labels
        The regions, with their colours.

    Raises
    ------
    InputError
        If a case or its segmentation is missing, or a row has scores or segmentations alone.
    """
    if lonely := sorted(scores.keys() ^ segmentations.keys()):
        raise InputError(f"{lonely[0]}: name its scores and its segmentations, too")
    tables = {row: read_table(path, columns_of(labels)) for row, path in scores.items()}
    scored = {row: composites(table, labels).set_index("case") for row, table in tables.items()}
    mean = mean_of_rows(tables, labels)
    worst = [str(case) for case in mean.index[:CASES]]
    if unknown := [name for name in worst if name not in cases]:
        raise InputError(
            f"{unknown[0]}: is not among the checked cases: delete the scores and run the workflow "
            "again"
        )
    slices = {name: _slice(cases[name], segmentations, labels) for name in worst}
    lines = math.ceil((len(scores) + 1) / COLUMNS)
    shape = (lines * len(worst), min(len(scores) + 1, COLUMNS))
    # High enough for the longest slice below two lines of text.
    longest = max(cut.image.shape[0] * cut.aspect / cut.image.shape[1] for cut in slices.values())
    size = (INCHES * shape[1], (INCHES * longest + 0.4) * shape[0] + 0.6)
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained")
    for panel in axes.flat:
        panel.axis("off")
    for number, (name, cut) in enumerate(slices.items()):
        panels = axes[lines * number : lines * (number + 1)].flat
        for panel, (row, label) in zip(panels, cut.labels.items(), strict=False):
            if row == TRUTH:
                panel.set_title(f"{name}\ntruth", fontsize=8)
            else:
                dices = scored[row].loc[name, [f"{region}_dice" for region in labels.names]]
                told = " ".join(f"{value:.2f}" for value in dices).replace("nan", "-")
                panel.set_title(f"{row}\n{told}", fontsize=8)
            low, high = WINDOW_HU
            panel.imshow(cut.image, cmap="gray", vmin=low, vmax=high, aspect=cut.aspect)
            outline(panel, label, labels)
    handles = [Line2D([], [], color=region.colour) for region in labels.regions]
    figure.legend(handles, labels.names, loc="outside lower center", ncols=len(handles), fontsize=8)
    figure.suptitle(f"Below each row: Dice of {', '.join(labels.names)}", fontsize=8)
    with plt.rc_context({"svg.hashsalt": "worst"}):
        for ending in ("png", "svg"):
            save(figure, output / f"compare_worst.{ending}")


def _slice(case: CheckedCase, segmentations: dict[str, Path], labels: Labels) -> Slice:
    """The slice on which the truth's innermost region is largest."""
    found = read_segmented(case, segmentations, labels)
    truth = found.label(TRUTH)
    masks = [region.mask(truth) for region in labels.regions]
    shown = next((mask for mask in reversed(masks) if mask.any()), masks[0])
    z = int(shown.sum(axis=(1, 2)).argmax())
    maps = {name: found.label(name)[z].copy() for name in found.marked}
    return Slice(found.image[z], maps, found.spacing[1] / found.spacing[2])
