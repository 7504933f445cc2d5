"""What all pictures share."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from renal.files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["plt", "save"]


def save(figure: Figure, path: Path) -> None:
    """Write a figure in one step, and forget it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, facecolor=figure.get_facecolor())
    plt.close(figure)
