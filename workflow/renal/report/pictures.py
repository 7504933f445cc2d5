"""What all pictures share."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from renal.files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["COLOURS", "plt", "save"]

# Okabe and Ito's, told apart by the colour-blind.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")


def save(figure: Figure, path: Path) -> None:
    """Write a figure in one step, and forget it."""
    with replacing(path) as temporary:
        # Without the time, the same picture has the same bytes.
        kind, undated = ("svg", {"Date": None}) if path.suffix == ".svg" else ("png", None)
        colour = figure.get_facecolor()
        figure.savefig(temporary, format=kind, dpi=110, facecolor=colour, metadata=undated)
    figure.set_layout_engine("none")  # laid out once: another format takes the same places
    plt.close(figure)
