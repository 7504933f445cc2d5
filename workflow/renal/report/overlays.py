"""Image, truth and prediction of the best, median and worst case."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from renal.errors import InputError
from renal.handover.checked import CheckedCase
from renal.handover.segmentations import segmentation_of
from renal.handover.tables import read_table
from renal.image.volume import read_header, read_label, read_volume
from renal.labels import KITS19, Labels
from renal.parallel import telling_of_memory
from renal.report.pictures import plt, save
from renal.report.ranked import ranked_cases

WINDOW_HU = (-125, 225)


def draw_overlays(
    scores: Path,
    segmentations: Path,
    cases: dict[str, CheckedCase],
    output: Path,
    labels: Labels = KITS19,
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
    labels : Labels
        The regions, with their colours.
    """
    columns = ["case", "grid", "composite"]
    for region in labels.regions:
        columns += [f"{region.name}_dice"] + [f"{region.name}_detection"] * region.lesion
    for rank, row in ranked_cases(read_table(scores, columns), labels).items():
        if row["case"] not in cases:
            raise InputError(
                f"{scores}: {row['case']} is not among the checked cases: delete it and run the "
                "workflow again"
            )
        case = cases[row["case"]]
        with telling_of_memory(case.name, "use a larger machine"):
            image = read_volume(read_header(Path(case.image)))
            truth = read_label(read_header(case.label_path), labels)
            prediction = read_label(read_header(segmentation_of(segmentations, case.name)), labels)
        told = []
        for region in labels.regions:
            if pd.isna(row[f"{region.name}_dice"]):
                continue
            found = f" ({row[f'{region.name}_detection']})" if region.lesion else ""
            told.append(f"{region.name} Dice {row[f'{region.name}_dice']:.3f}{found}")
        title = f"{rank} case, {case.name}: {', '.join(told)}"
        panels = {"image": None, "truth": truth, "prediction": prediction}
        path = output / f"{rank}.png"
        draw_overlay(image, panels, truth, case.spacing_mm, title, path, labels)


def draw_overlay(
    image: np.ndarray,
    panels: dict[str, np.ndarray | None],
    cut_by: np.ndarray,
    spacing: tuple[float, float, float],
    title: str,
    path: Path,
    labels: Labels = KITS19,
) -> None:
    """Axial slices above, coronal ones below, of the image with the outlines of label maps.

    Parameters
    ----------
    image : numpy.ndarray
        (z, y, x) int16, HU.
    panels : dict
        Name of a column to the label map that is drawn there, (z, y, x) uint8, or None.
    cut_by : numpy.ndarray
        (z, y, x) uint8: the slices are those on which its innermost region is largest.
    spacing : tuple of float
        (z, y, x) mm.
    title : str
        Above the columns.
    path : Path
        The picture.
    labels : Labels
        The regions, with their colours.
    """
    shown = [region.mask(cut_by) for region in labels.regions]
    region = next((mask for mask in reversed(shown) if mask.any()), shown[0])
    axial = int(region.sum(axis=(1, 2)).argmax())
    coronal = int(region.sum(axis=(0, 2)).argmax())
    cuts: list[tuple[tuple[slice | int, ...], float]] = [
        ((axial,), spacing[1] / spacing[2]),
        ((slice(None), coronal), spacing[0] / spacing[2]),
    ]
    depth, height, width = image.shape * np.array(spacing)
    figure, axes = plt.subplots(
        2,
        len(panels),
        figsize=(4 * len(panels), 4 / width * (height + depth) + 0.7),
        height_ratios=[height, depth],
        facecolor="black",
        layout="constrained",
    )
    figure.suptitle(title, color="white")
    for column, (name, label) in enumerate(panels.items()):
        axes[0, column].set_title(name, color="white")
        for row, (cut, aspect) in enumerate(cuts):
            panel = axes[row, column]
            panel.imshow(
                image[cut], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], aspect=aspect
            )
            panel.axis("off")
            if label is not None:
                outline(panel, label[cut], labels)
    handles = [Line2D([], [], color=region.colour) for region in labels.regions]
    axes[0, 0].legend(handles, labels.names, loc="lower left", fontsize=8)
    save(figure, path)


def outline(panel: Axes, label: np.ndarray, labels: Labels) -> None:
    """Draw the outlines of a (y, x) label map's regions, in their colours."""
    for region in labels.regions:
        mask = region.mask(label)
        if mask.any():
            panel.contour(mask, levels=[0.5], colors=[region.colour], linewidths=1.1)
