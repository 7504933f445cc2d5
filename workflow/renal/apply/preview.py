"""A picture of a result, to see at a glance whether it can be right."""

from pathlib import Path

import numpy as np

from renal.labels import KITS19, Labels


def draw_preview(
    path: Path,
    volume: np.ndarray,
    label: np.ndarray,
    spacing: tuple[float, float, float],
    title: str,
    labels: Labels = KITS19,
) -> None:
    """Draw a CT, (z, y, x) int16 HU, and the outlines of its label map, (z, y, x) uint8."""
    from renal.report.overlays import draw_overlay

    title = title.replace("$", r"\$")  # which begins a formula otherwise
    draw_overlay(
        volume, {"image": None, "segmentation": label}, label, spacing, title, path, labels
    )
