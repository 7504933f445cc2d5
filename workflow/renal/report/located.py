"""What was lost before a stage looked at its regions."""

from itertools import cycle
from pathlib import Path

import numpy as np

from renal.handover.tables import read_table
from renal.labels import KITS19, Labels
from renal.report.pictures import plt, save

MARKERS = "ovs^D"


def draw_located(scores: Path, name: str, output: Path, labels: Labels = KITS19) -> None:
    """Draw which share of each case's kidney and lesions lies in the boxes that were looked at.

    Parameters
    ----------
    scores : Path
        The method's scores.csv.
    name : str
        Heading of the picture.
    output : Path
        PNG to write.
    labels : Labels
        The regions, with their colours.
    """
    shares = [f"located_{name}" for name in labels.names]
    table = read_table(scores, ["case", "grid", *shares])
    first = shares[0]
    native = table[table["grid"] == "native"].sort_values([first, "case"])
    figure, panel = plt.subplots(figsize=(8, 3.6), layout="constrained")
    panel.set_title(f"{name}: what the located regions hold")
    places = np.arange(1, len(native) + 1)
    for region, marker in zip(labels.regions, cycle(MARKERS), strict=False):
        share = native[f"located_{region.name}"]
        panel.plot(places, share, marker, color=region.colour, label=region.name, markersize=5)
    panel.set_xlabel("cases, from the worst to the best located")
    panel.locator_params(axis="x", integer=True)
    panel.set_ylabel("share of voxels inside")
    panel.set_ylim(-0.05, 1.05)
    panel.grid(alpha=0.3)
    panel.legend(loc="lower right")
    save(figure, output)
