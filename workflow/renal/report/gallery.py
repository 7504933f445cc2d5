"""The worst cases as all rows see them."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
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
        If a case or its segmentation is missing.
    """
    tables = {row: read_table(path, columns_of(labels)) for row, path in scores.items()}
    scored = {row: composites(table, labels).set_index("case") for row, table in tables.items()}
    mean = mean_of_rows(tables, labels)
    worst = [str(case) for case in mean.index[:CASES]]
    if unknown := [name for name in worst if name not in cases]:
        raise InputError(
            f"{unknown[0]}: is not among the checked cases: delete the scores and run the workflow "
            "again"
        )
    lines = math.ceil((len(scores) + 1) / COLUMNS)
    shape = (lines * len(worst), min(len(scores) + 1, COLUMNS))
    size = (INCHES * shape[1], (INCHES + 0.35) * shape[0] + 0.3)
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained")
    for panel in axes.flat:
        panel.axis("off")
    for number, name in enumerate(worst):
        found = read_segmented(cases[name], segmentations, labels)
        truth = found.label(TRUTH)
        masks = [region.mask(truth) for region in labels.regions]
        shown = next((mask for mask in reversed(masks) if mask.any()), masks[0])
        z = int(shown.sum(axis=(1, 2)).argmax())
        panels = axes[lines * number : lines * (number + 1)].flat
        for panel, row in zip(panels, found.marked, strict=False):
            dices = [f"{region}_dice" for region in labels.names]
            told = " ".join(
                f"{value:.2f}" if value == value else "-"
                for value in (scored[row].loc[name, dices] if row in scored else ())
            )
            title = f"{name}\ntruth" if row == TRUTH else f"{row}\n{told}"
            panel.set_title(title, fontsize=8)
            _show(panel, found.image[z], found.label(row)[z], found.spacing, labels)
    handles = [Line2D([], [], color=region.colour) for region in labels.regions]
    figure.legend(handles, labels.names, loc="outside lower center", ncols=len(handles), fontsize=8)
    figure.suptitle(f"Below each row: Dice of {', '.join(labels.names)}", fontsize=8)
    with plt.rc_context({"svg.hashsalt": "worst"}):
        for ending in ("png", "svg"):
            save(figure, output / f"compare_worst.{ending}")


def _show(
    panel: Axes,
    image: np.ndarray,
    label: np.ndarray,
    spacing: tuple[float, float, float],
    labels: Labels,
) -> None:
    low, high = WINDOW_HU
    panel.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=spacing[1] / spacing[2])
    outline(panel, label, labels)
