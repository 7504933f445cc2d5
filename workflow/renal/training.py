"""Training one stage of one method on one fold: the only training loop there is.

Every epoch is seeded by the run's seed and its own number, so a run that was stopped and started
again draws what an uninterrupted run would have drawn, and ends with the same bytes on a CPU.
"""

import fcntl
import hashlib
import json
import logging
import math
import platform
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from renal.augment import augment
from renal.datasets import TrainingSet
from renal.errors import InputError, Stopped
from renal.files import replacing, write_json, write_text
from renal.losses import training_loss
from renal.networks import build_network
from renal.sources import sources_of

if TYPE_CHECKING:
    from renal.recipe import Training

log = logging.getLogger(__name__)

SECONDS_BETWEEN_STATES = 60.0
SECONDS_BETWEEN_LINES = 10.0


@dataclass
class Progress:
    """How far a run has come: stored in its state, and the source of history.csv."""

    epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    folders: list[Path],
    settings: "Training",
    output: Path,
    *,
    seed: int,
    threads: int,
    bfloat16_on_cpu: bool,
    name: str = "train",
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
        Mixed precision without a GPU; on a GPU it is always used.
    name : str
        What progress lines call this run.

    Raises
    ------
    InputError
        If the loss is no longer a number, or another process is training in `output`.
    Stopped
        After SIGTERM or SIGINT, once the state is stored.
    """
    started = time.monotonic()
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    network = build_network(settings.network).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.optimizer.learning_rate)
    examples = TrainingSet(folders, settings, device)
    half = device.type == "cuda" or bfloat16_on_cpu
    fingerprint = _fingerprint(settings, examples, folders, seed, half)
    progress = Progress()
    output.mkdir(parents=True, exist_ok=True)
    with _only_writer(output), _stop_signal() as stop:
        state = _read_state(output / "state.pt", fingerprint, device)
        if state is not None:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            progress = Progress(**state["progress"])
            log.info("%s: going on after epoch %d", name, progress.epoch)
        before = progress.seconds
        last_state = last_line = time.monotonic()
        while progress.epoch < settings.epochs:
            row = _epoch(network, optimizer, examples, settings, seed, progress.epoch, half)
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
                _write_state(output / "state.pt", fingerprint, network, optimizer, progress)
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
    epoch: int,
    half: bool,
) -> dict[str, float]:
    """One pass over the training cases; returns the epoch's row of history.csv."""
    torch.manual_seed((seed << 20) + epoch)
    rate = learning_rate(settings, epoch)
    for group in optimizer.param_groups:
        group["lr"] = rate
    network.train()
    order = torch.randperm(len(examples)).tolist()
    losses, scores = [], []
    for start in range(0, len(order), settings.batch_size):
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


def learning_rate(settings: "Training", epoch: int) -> float:
    """Learning rate of an epoch, counted from 0: multiplied every so many epochs."""
    steps = epoch // settings.schedule.epochs
    return settings.optimizer.learning_rate * settings.schedule.factor**steps


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


# -- running state ------------------------------------------------------------------------------


def _fingerprint(
    settings: "Training",
    examples: TrainingSet,
    folders: list[Path],
    seed: int,
    half: bool,
) -> str:
    """Hash of all that decides the model: a state with another one is not continued."""
    digest = hashlib.sha256()
    values: dict[str, Any] = settings.model_dump(mode="json")
    digest.update(json.dumps([values, examples.names, seed, half], sort_keys=True).encode())
    for path in sources_of("training", f"networks.{settings.network.name}"):
        digest.update(path.read_bytes())
    for folder in sorted(folders):
        # Size and time of writing stand for the content: reading it all would take minutes.
        for path in sorted(Path(folder).glob("case*")):
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _read_state(path: Path, fingerprint: str, device: torch.device) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        found = state["fingerprint"]
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = " ".join(str(error).split())[:200]
        log.warning("%s: cannot be used (%s): starting from the first epoch", path, reason)
        return None
    if found != fingerprint:
        log.info("%s: made with other settings, data or code: starting from the first epoch", path)
        return None
    return state


def _write_state(
    path: Path,
    fingerprint: str,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    state = {
        "fingerprint": fingerprint,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
    }
    with replacing(path) as temporary:
        torch.save(state, temporary)


@contextmanager
def _only_writer(output: Path) -> Iterator[None]:
    """Refuse to train where another process does: both would write the same state."""
    with (output / "state.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{output}: another process is training here: wait for it, or stop it"
            ) from error
        yield


@dataclass
class _StopFlag:
    is_set: bool = False


@contextmanager
def _stop_signal() -> Iterator["_StopFlag"]:
    """A flag that SIGTERM or SIGINT sets, so that the epoch is finished and the state stored."""
    flag = _StopFlag()

    def set_flag(*_: object) -> None:
        flag.is_set = True

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(number, set_flag) for number in numbers]
    try:
        yield flag
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


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
