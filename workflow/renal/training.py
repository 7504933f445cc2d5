"""Training one stage of one method on one fold: the only training loop there is.

Every epoch is seeded by the run's seed and its own number, so a run that was stopped and started
again draws what an uninterrupted run would have drawn, and ends with the same bytes on a CPU.
"""

import logging
import math
import platform
import resource
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from renal.augmentations import augment
from renal.datasets import TrainingSet
from renal.device import choose_device
from renal.errors import InputError, Stopped
from renal.files import replacing, write_json, write_text
from renal.losses import training_loss
from renal.networks import build_network
from renal.optimizers import build_optimizer
from renal.run_state import (
    Progress,
    StopFlag,
    fingerprint_of,
    only_writer,
    read_state,
    stop_signal,
    write_state,
)
from renal.schedules import learning_rate

if TYPE_CHECKING:
    from renal.recipe import Training

log = logging.getLogger(__name__)

SECONDS_BETWEEN_STATES = 60.0
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BEFORE_THE_LIMIT = 120.0


def train(
    folders: list[Path],
    settings: "Training",
    output: Path,
    *,
    seed: int,
    threads: int,
    bfloat16_on_cpu: bool,
    name: str = "train",
    minutes: float = math.inf,
) -> None:
    """Train a network and write model.safetensors, history.csv and run.json.

    Parameters
    ----------
    folders : list of Path
        Prepared batches of the training cases.
    settings : Training
        The recipe's training section.
    output : Path
        Folder of the model. The running state lies there as ``state.pt`` until training ends.
    seed : int
        Decides initialisation, order and augmentation.
    threads : int
        Cores for torch. The same number gives the same bytes.
    bfloat16_on_cpu : bool
        Mixed precision without a GPU; on a GPU it is used wherever that has it in hardware.
    name : str
        What progress lines call this run.
    minutes : float
        How long the run may take. It stops in time to store its state.

    Raises
    ------
    InputError
        If the loss is no longer a number, or another process is training in `output`.
    Stopped
        After SIGTERM or SIGINT, or before `minutes` are over: at the end of the epoch, once the
        state is stored, or within it if it goes on for long; then an earlier state is there.
    """
    started = time.monotonic()
    torch.set_num_threads(threads)
    device, half = choose_device(bfloat16_on_cpu=bfloat16_on_cpu)
    torch.manual_seed(seed)
    network = build_network(settings.network).to(device)
    optimizer = build_optimizer(network.parameters(), settings.optimizer)
    examples = TrainingSet(folders, settings, device)
    fingerprint = fingerprint_of(settings, examples, folders, seed, half)
    progress = Progress()
    output.mkdir(parents=True, exist_ok=True)
    deadline = started + 60 * minutes - SECONDS_BEFORE_THE_LIMIT
    with only_writer(output), stop_signal(deadline) as stop:
        state = read_state(output / "state.pt", fingerprint, device)
        if state is not None:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            progress = Progress(**state["progress"])
            log.info("%s: going on after epoch %d", name, progress.epoch)
        before = progress.seconds
        last_state = last_line = time.monotonic()
        while progress.epoch < settings.epochs:
            row = _epoch(network, optimizer, examples, settings, seed, progress.history, half, stop)
            progress.epoch += 1
            progress.seconds = before + time.monotonic() - started
            progress.history.append(row)
            if not math.isfinite(row["loss"]):
                raise InputError(
                    f"{output}: the loss of epoch {progress.epoch} is not a number: "
                    "lower the learning rate in config.yaml's overrides"
                )
            now, last = time.monotonic(), progress.epoch == settings.epochs
            if now - last_line > SECONDS_BETWEEN_LINES or last:
                log.info("%s: %s", name, _progress_line(row, progress, settings.epochs))
                last_line = now
            if (now - last_state > SECONDS_BETWEEN_STATES and not last) or stop.is_set:
                write_state(output / "state.pt", fingerprint, network, optimizer, progress)
                last_state = now
            if stop.is_set and not last:
                raise Stopped(
                    f"{name}: stopped after epoch {progress.epoch} of {settings.epochs}: "
                    "run again to go on from there"
                )
        _write_results(output, network, progress, settings, examples, fingerprint, device, seed)


def _epoch(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: TrainingSet,
    settings: "Training",
    seed: int,
    history: list[dict[str, float]],
    half: bool,
    stop: StopFlag,
) -> dict[str, float]:
    """One pass over the training cases; returns the epoch's row of history.csv."""
    epoch = len(history)
    torch.manual_seed((seed << 20) + epoch)
    rate = learning_rate(settings, history)
    for group in optimizer.param_groups:
        group["lr"] = rate
    network.train()
    order = torch.randperm(len(examples)).tolist()
    losses, scores = [], []
    for start in range(0, len(order), settings.batch_size):
        if stop.is_overdue:
            raise Stopped(
                f"stopped within epoch {epoch + 1}: run again to go on from the last state"
            )
        image, target = examples.batch(order[start : start + settings.batch_size])
        image, target = augment(image, target, settings.augmentation)
        loss, outputs = training_step(network, optimizer, settings, image, target, half)
        losses.append(loss)
        scores.append(_dice_of(outputs[-1], target))
    return {
        "epoch": epoch + 1,
        "learning_rate": rate,
        "loss": float(torch.stack(losses).mean()),
        "dice": float(torch.stack(scores).mean()),
    }


def training_step(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: "Training",
    image: torch.Tensor,
    target: torch.Tensor,
    half: bool,
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Forward, backward and update on one batch, (batch, 1, z, y, x) float on the device.

    Returns
    -------
    loss : torch.Tensor
        Detached scalar, left on the device so that a GPU need not wait for it.
    outputs : tuple of torch.Tensor
        Detached logits.
    """
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(image.device.type, torch.bfloat16, enabled=half):
        outputs = network(image)
    loss = training_loss(outputs, target, settings.loss)
    loss.backward()
    optimizer.step()
    return loss.detach(), tuple(output.detach() for output in outputs)


def _dice_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Dice of the thresholded batch as a whole, for the curves."""
    prediction = logits > 0
    overlap = (prediction & (target > 0)).sum()
    return 2 * overlap / (prediction.sum() + target.sum()).clamp(min=1)


def _progress_line(row: dict[str, float], progress: Progress, epochs: int) -> str:
    left = progress.seconds / progress.epoch * (epochs - progress.epoch)
    time_left = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
    return (
        f"epoch {progress.epoch}/{epochs}, loss {row['loss']:.3f}, "
        f"training Dice {row['dice']:.3f}, {time_left} left"
    )


# -- results ------------------------------------------------------------------------------------


def _write_results(
    output: Path,
    network: torch.nn.Module,
    progress: Progress,
    settings: "Training",
    examples: TrainingSet,
    fingerprint: str,
    device: torch.device,
    seed: int,
) -> None:
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        raise InputError(
            f"{output}: the network's parameters are not numbers after the last update: "
            "lower the learning rate in config.yaml's overrides"
        )
    with replacing(output / "model.safetensors") as temporary:
        save_file(network.state_dict(), temporary)
    columns = list(progress.history[0])
    lines = [",".join(columns)]
    lines += [",".join(f"{row[column]:.6g}" for column in columns) for row in progress.history]
    write_text(output / "history.csv", "\n".join(lines) + "\n")
    on_gpu = device.type == "cuda"
    write_json(
        output / "run.json",
        {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(progress.seconds, 1),
            "epochs": progress.epoch,
            "cases": examples.names,
            "seed": seed,
            "settings": settings.model_dump(mode="json"),
            "fingerprint": fingerprint,
            "commit": _commit(),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
            "threads": torch.get_num_threads(),
            "peak_memory_mb": round(
                torch.cuda.max_memory_allocated(device) / 2**20
                if on_gpu
                else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
            ),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    )
    (output / "state.pt").unlink(missing_ok=True)


def _commit() -> str | None:
    """The commit of this repository, with a + where files differ from it; None outside of one."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
