"""What all pictures share."""

from pathlib import Path

import matplotlib

from renal.files import replacing

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure in one step, and forget it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=figure.get_facecolor())
    plt.close(figure)
