"""A training that has collapsed: it goes on, and learns nothing any more.

It decides no model, and is handed to the training loop, so that other thresholds train nothing
again. What is counted are steps in a row. Steps whose prediction is right do not count, such as
those without foreground of which none was found: a constant prediction is no fault there.
A training that is too short to be ended has a model, and is told of.
"""

import logging
import math
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from renal.errors import InputError

if TYPE_CHECKING:
    from renal.learn.run import Run

log = logging.getLogger("renal")
RIGHT = 0.9  # Dice of the map that is found worst
SAME = 0.01  # largest difference of the probabilities in a map that is the same everywhere
VANISHED = 1e-7  # norm of a gradient
STANDING = 1e-6  # by how much of itself a loss differs from the highest one
NOTHING = 0.01  # Dice of a map in which next to nothing is found
ALL = 0.999  # share of the voxels

SEEN = {
    "prediction": "the prediction was the same everywhere ({foreground:.0%} foreground)",
    "foreground": "all was taken for foreground ({foreground:.1%})",
    "gradient": "the gradient had vanished (norm {gradient_norm:.1g})",
    "loss": "the loss stood at its worst ({loss:.4f})",
}


def end_if_collapsed(run: "Run", output: Path) -> None:
    """Count the last epoch's steps that taught nothing, and end a run that has too many of them.

    Parameters
    ----------
    run : Run
        After an epoch. What was counted is in its progress, and so in its running state.
    output : Path
        Folder of the model, for the message.

    Raises
    ------
    InputError
        If the loss is no longer a number, or `collapse_steps` steps in a row had the same sign of
        collapse: with what was seen, in which epoch, and which values of the recipe to change.
    """
    progress, last = run.progress, run.progress.history[-1]
    if not math.isfinite(last["loss"]):
        raise InputError(
            f"{output}: the loss of epoch {progress.epoch} is not a number: "
            "lower the learning rate in config.yaml's overrides"
        )
    for values in zip(*run.steps.values(), strict=True):
        _count(progress.collapse, dict(zip(run.steps, values, strict=True)))
    wrong = [dice for dice in run.steps["lowest_dice"] if dice < RIGHT]
    progress.collapse["lowest Dice"] = fmean(wrong) if wrong else 1.0
    for sign, seen in SEEN.items():
        if progress.collapse.get(sign, 0) >= run.settings.collapse_steps:
            raise InputError(
                f"{output}: the training has collapsed: in {progress.collapse[sign]:.0f} steps up "
                f"to epoch {progress.epoch} {seen.format(**last)}: {_advice(run)}"
            )


def tell_if_nothing_was_learned(run: "Run", output: Path) -> None:
    """Warn of a run whose last epoch found nothing of a map, or took all for foreground.

    Parameters
    ----------
    run : Run
        At its end.
    output : Path
        Folder of the model, for the message.
    """
    dice = run.progress.collapse["lowest Dice"]
    share = run.progress.history[-1]["foreground"]
    if dice < NOTHING:
        seen = f"had found next to nothing of a region (Dice {dice:.3f})"
    elif dice < RIGHT and share > ALL:
        seen = f"took {share:.0%} of the voxels for foreground"
    else:
        return
    advice = _advice(run)
    log.warning("%s: the training %s when it ended: train longer, or %s", output, seen, advice)


def _count(counts: dict[str, float], step: dict[str, float]) -> None:
    """Prolong or begin anew how many steps in a row have had each sign."""
    loss = step["loss"]
    highest = counts["highest loss"] = max(loss, counts.get("highest loss", loss))
    if step["lowest_dice"] >= RIGHT:
        return
    signs = {
        "prediction": step["spread"] < SAME,
        "foreground": step["foreground"] > ALL,
        "gradient": step["gradient"] < VANISHED,
        "loss": highest - loss <= STANDING * abs(highest),
    }
    for sign, is_there in signs.items():
        counts[sign] = counts.get(sign, 0) + 1 if is_there else 0


def _advice(run: "Run") -> str:
    network = run.settings.network
    changes = ["lower optimizer.learning_rate"]
    if network.unnormalized:
        changes.insert(0, "set network.normalization to instance")
    if network.has_dropout:
        changes.append("lower network.dropout")
    return f"in config.yaml's overrides of the stage's training {' or '.join(changes)}"
