"""Training curves."""

from pathlib import Path

from renal.handover.tables import read_table
from renal.report.pictures import plt, save

# Column of history.csv to the title of its panel.
PANELS = {
    "loss": "loss",
    "dice": "Dice",
    "learning_rate": "learning rate",
    "gradient_norm": "norm of the gradient",
    "foreground": "predicted foreground",
}


def draw_curves(histories: dict[str, Path], title: str, output: Path) -> None:
    """Draw what history.csv holds over the epochs, a line for each fold.

    Where training cases were held back to watch, theirs are the dashed lines. The gradient's norm
    is on a logarithmic scale, and predicted foreground a share of all voxels of all maps.

    Parameters
    ----------
    histories : dict
        Name of the fold to its history.csv.
    title : str
        Heading of the picture.
    output : Path
        PNG to write.
    """
    figure, axes = plt.subplots(1, len(PANELS), figsize=(18, 3.6), layout="constrained")
    figure.suptitle(title)
    panels = dict(zip(PANELS, axes, strict=True))
    for number, (name, path) in enumerate(histories.items()):
        history = read_table(path, ("epoch", "loss", "learning_rate"))  # nnU-Net tells no Dice
        for column, panel in panels.items():
            style = {"color": f"C{number % 10}", "linewidth": 1}
            if column in history:
                panel.plot(history["epoch"], history[column], label=name, **style)
            if f"validation_{column}" in history:
                panel.plot(history["epoch"], history[f"validation_{column}"], "--", **style)
    for column, panel in panels.items():
        panel.set_xlabel("epoch")
        panel.set_ylabel(PANELS[column])
        panel.grid(alpha=0.3)
    panels["dice"].set_ylim(0, 1)
    if panels["gradient_norm"].lines:
        panels["gradient_norm"].set_yscale("log", nonpositive="mask")
    panels["loss"].legend(fontsize=8)
    save(figure, output)
