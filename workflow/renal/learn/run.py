"""What changes while a network is trained."""

import logging
import math
from typing import TYPE_CHECKING, Any

import torch

from renal.labels import KITS19, Labels
from renal.learn.distributed import in_parallel
from renal.learn.run_state import Progress

if TYPE_CHECKING:
    from renal.learn.drawings import Drawing
    from renal.learn.settings import Training

log = logging.getLogger(__name__)

# Of every step: loss, norm of the gradient of all parameters, Dice (mean and lowest of the maps),
# share of predicted foreground, and the largest difference of probabilities within a map.
NOTED = ("loss", "gradient", "dice", "lowest_dice", "foreground", "spread")


class Run:
    """All that changes while a network is trained, and what decides how.

    Parameters
    ----------
    network, optimizer
        On the device.
    drawing
        In which order examples are learned from.
    settings : Training
        The recipe's training section.
    seed : int
        Of the run.
    precision : torch.dtype
        Of the forward pass. In float16 gradients are scaled, of which small ones would be 0.
    labels : Labels
        What the label values mean.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        drawing: "Drawing",
        settings: "Training",
        seed: int,
        precision: torch.dtype,
        labels: Labels = KITS19,
    ) -> None:
        self.network = network
        self.forward = in_parallel(network)
        self.optimizer = optimizer
        self.drawing = drawing
        self.settings = settings
        self.seed = seed
        self.precision = precision
        self.scaler = torch.amp.GradScaler("cuda", enabled=precision == torch.float16)
        self.labels = labels
        self.progress = Progress()
        self.best: dict[str, torch.Tensor] = {}
        self.steps: dict[str, list[float]] = {}  # what was `NOTED` of those of the last epoch

    def state(self) -> dict[str, Any]:
        """What a stopped run needs, for torch.save."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "drawing": self.drawing.state,
            "best": self.best,
            "progress": vars(self.progress),
            "precision": str(self.precision),
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave, also on a device that computes in another precision."""
        before, now = state["precision"], str(self.precision)
        if before == now:
            self.scaler.load_state_dict(state["scaler"])
        else:
            log.warning("begun in %s, going on in %s: the model is of both", before, now)
        for group in state["optimizer"]["param_groups"]:
            group["fused"] = self.optimizer.defaults["fused"]  # as this device has it
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, kept in self.optimizer.state.items():
            for key in kept.keys() - {"step"}:  # laid out alike, or fused kernels refuse them
                kept[key] = torch.empty_like(parameter).copy_(kept[key])
        self.drawing.state = {key: value.cpu() for key, value in state["drawing"].items()}
        self.best = state["best"]
        self.progress = Progress(**state["progress"])

    def keep_best(self) -> None:
        """Keep the weights of the last epoch if its validation loss is the lowest so far."""
        validation, history = self.settings.validation, self.progress.history
        if validation is None or validation.keep == "last":
            return
        if best_epoch(history) == len(history) - 1:
            self.best = {key: value.clone() for key, value in self.network.state_dict().items()}
            self.progress.kept = len(history)

    def take_best(self) -> None:
        """Give the network the weights that were kept."""
        if self.best:
            self.network.load_state_dict(self.best)
        else:
            self.progress.kept = self.progress.epoch


def watched_loss(row: dict[str, float]) -> float:
    """The loss of an epoch that schedules and stopping look at; one that is no number is worst."""
    loss = row.get("validation_loss", row["loss"])
    return loss if math.isfinite(loss) else math.inf


def best_epoch(history: list[dict[str, float]]) -> int:
    """Index of the first epoch with the lowest loss."""
    return min(range(len(history)), key=lambda index: watched_loss(history[index]))
