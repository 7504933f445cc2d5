"""A fold trained by nnU-Net's own trainer; runs in nnU-Net's environment.

The trainer differs from nnU-Net's in what has no option there: the number of epochs, a checkpoint
after each of them that is written in one step, and a stop in time. It has the name of nnU-Net's, so
that nnU-Net's own programs take its checkpoints.
"""

import json
import logging
import math
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from nnunetv2.paths import nnUNet_results
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module
from safetensors.torch import save

from renal.errors import InputError, Stopped
from renal.files import replacing, write_json, write_text
from renal.learn.nnunet.layout import DATASET, PLANS, TRAINER, VERSION

log = logging.getLogger("renal")

SECONDS_BETWEEN_LINES = 10.0
FINAL, LATEST = "checkpoint_final.pth", "checkpoint_latest.pth"
# Column of history.csv to what nnU-Net calls it.
COLUMNS = {
    "learning_rate": "lrs",
    "loss": "train_losses",
    "validation_loss": "val_losses",
    "validation_dice": "mean_fg_dice",
}

# It would look at the endings of all files beside the cases, and meet Snakemake's and ours.
module.infer_dataset_class = lambda folder: nnUNetDatasetBlosc2


class nnUNetTrainer(module.nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer, which may be killed at any time; attributes are set from outside.

    Attributes
    ----------
    run : str
        What progress lines call it.
    until : float
        When it has to be over, in seconds since 1970.
    mirroring : bool
        Whether augmentation mirrors.
    """

    run: str
    until: float
    mirroring: bool
    last_line = 0.0

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:
        rotation, flat, size, axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        self.inference_allowed_mirroring_axes = axes if self.mirroring else None
        return rotation, flat, size, self.inference_allowed_mirroring_axes

    def save_checkpoint(self, filename: str) -> None:
        if Path(filename).name in (FINAL, LATEST):  # the best one is chosen by the held-out cases
            super().save_checkpoint(f"{filename}.part")
            os.replace(f"{filename}.part", filename)

    def on_epoch_end(self) -> None:
        loss = self.logger.get_value("train_losses", step=-1)
        if not math.isfinite(loss):
            raise InputError(
                f"{self.run}: the loss of epoch {self.current_epoch + 1} is not a number: look at "
                "the cases, or at what nnunet.planning.changes of the recipe says"
            )
        super().on_epoch_end()
        now, begun = (
            self.logger.get_value(f"epoch_{end}_timestamps", -1) for end in ("end", "start")
        )
        left = self.num_epochs - self.current_epoch
        if now - self.last_line > SECONDS_BETWEEN_LINES or not left:
            dice = self.logger.get_value("mean_fg_dice", -1)
            log.info(
                "%s: epoch %d/%d, loss %.3f, pseudo Dice %.3f, about %.0f min left",
                *(self.run, self.current_epoch, self.num_epochs, loss, dice),
                left * (now - begun) / 60,
            )
            self.last_line = now
        if left and time.time() + 1.2 * (now - begun) > self.until:
            raise Stopped(
                f"{self.run}: stopped after epoch {self.current_epoch} of {self.num_epochs}: "
                "run again to go on from there"
            )


def train(
    planned: str,
    configuration: str,
    fold: int,
    output: str,
    epochs: int,
    iterations: int,
    mirroring: bool,
    identity: str,
    name: str,
    until: float | None,
    gpu: bool,
    threads: int,
) -> None:
    """Train a fold, or go on with it, and write model.safetensors, history.csv and run.json.

    Checkpoints of another `identity`, which stands for all that decides the model, are removed.
    """
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        os.environ.setdefault("nnUNet_compile", "false")
    torch.set_num_threads(1 if gpu else threads)
    torch.backends.cudnn.benchmark = gpu
    folder = Path(nnUNet_results, DATASET, f"{TRAINER}__{PLANS}__{configuration}")
    _keep_own(folder / f"fold_{fold}", identity)
    plans = json.loads(Path(planned, f"{PLANS}.json").read_text())
    dataset = json.loads(Path(planned, "dataset.json").read_text())
    trainer = nnUNetTrainer(
        plans | {"continue_training": False},
        configuration,
        fold,
        dataset,
        torch.device("cuda" if gpu else "cpu"),
    )
    trainer.run, trainer.mirroring = name, mirroring
    trainer.until = math.inf if until is None else until
    trainer.num_epochs, trainer.num_iterations_per_epoch = epochs, iterations
    trainer.num_val_iterations_per_epoch = max(1, iterations // 5)
    trainer.save_every = 1
    stored = _checkpoint(Path(trainer.output_folder))
    if stored is not None:
        trainer.load_checkpoint(str(stored))
        log.info("%s: going on after epoch %d", name, trainer.current_epoch)
    if stored is None or stored.name != FINAL:
        trainer.run_training()
    _write_results(trainer, Path(planned, "splits_final.json"), Path(output), identity)


def _keep_own(folder: Path, identity: str) -> None:
    """Make the folder of a fold, without what another training left there."""
    told = folder / "identity.txt"
    if folder.exists() and (not told.exists() or told.read_text() != identity):
        shutil.rmtree(folder)
    write_text(told, identity)


def _checkpoint(folder: Path) -> Path | None:
    """What a training goes on from; a damaged file is told and passed over."""
    for path in (folder / FINAL, folder / LATEST):
        if path.exists():
            try:
                torch.load(path, map_location="cpu", weights_only=False)
            except Exception as error:  # torch raises many kinds for a damaged file
                reason = " ".join(str(error).split())[:200]
                log.warning("%s: cannot be used (%s)", path, reason)
            else:
                return path
    return None


def _write_results(trainer: nnUNetTrainer, splits: Path, output: Path, identity: str) -> None:
    # Of a compiled network the weights are those within.
    network = trainer.network
    network = network._orig_mod if hasattr(network, "_orig_mod") else network
    # Copies, for layers that are in two places, as nnU-Net's encoder is in its decoder.
    weights = {name: value.cpu().clone() for name, value in network.state_dict().items()}
    axes = json.dumps(trainer.inference_allowed_mirroring_axes)
    with replacing(output / "model.safetensors") as temporary:
        temporary.write_bytes(save(weights, {"mirrored_axes": axes}))
    curves = [trainer.logger.get_value(key, None) for key in COLUMNS.values()]
    lines = [",".join(("epoch", *COLUMNS))]
    for epoch, values in enumerate(zip(*curves, strict=True), start=1):
        lines.append(",".join((str(epoch), *(f"{value:.6g}" for value in values))))
    write_text(output / "history.csv", "\n".join(lines) + "\n")
    begun, ended = (
        trainer.logger.get_value(f"epoch_{end}_timestamps", None) for end in ("start", "end")
    )
    split = json.loads(splits.read_text())[trainer.fold]
    on_gpu = trainer.device.type == "cuda"
    write_json(
        output / "run.json",
        {
            "seconds": round(sum(ended) - sum(begun), 1),
            "epochs": trainer.num_epochs,
            "iterations": trainer.num_iterations_per_epoch,
            "cases": split["train"],
            "held_out_cases": split["val"],
            "fingerprint": identity,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "device": torch.cuda.get_device_name() if on_gpu else platform.machine(),
            "processes": 1,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "nnunetv2": VERSION,
        },
    )
