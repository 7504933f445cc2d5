"""Training curves."""

from pathlib import Path

from renal.handover.tables import read_table
from renal.report.pictures import plt, save

COLUMNS = ("loss", "dice", "learning_rate")


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
    for number, (name, path) in enumerate(histories.items()):
        history = read_table(path, ("epoch", "loss", "learning_rate"))  # nnU-Net tells no Dice
        for panel, column in zip(axes, COLUMNS, strict=True):
            style = {"color": f"C{number % 10}", "linewidth": 1}
            if column in history:
                panel.plot(history["epoch"], history[column], label=name, **style)
            if f"validation_{column}" in history:
                panel.plot(history["epoch"], history[f"validation_{column}"], "--", **style)
    for panel, name in zip(axes, ("loss", "Dice", "learning rate"), strict=True):
        panel.set_xlabel("epoch")
        panel.set_ylabel(name)
        panel.grid(alpha=0.3)
    axes[1].set_ylim(0, 1)
    axes[0].legend(fontsize=8)
    save(figure, output)
