"""Training one stage of one method on one fold: the only training loop there is.

Every epoch is seeded by the run's seed and its own number, so a run that was stopped and started
again draws what an uninterrupted run would have drawn, and ends with the same bytes on a CPU.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import torch

from renal.errors import Stopped
from renal.labels import KITS19, Labels
from renal.learn.augmentations import augment
from renal.learn.datasets import Case, Examples, read_cases, split
from renal.learn.device import choose_device, forward_pass, place
from renal.learn.distributed import Outputs, agreed, processes, rank
from renal.learn.drawings import drawing_of
from renal.learn.losses import Truth, training_loss
from renal.learn.networks import build_network
from renal.learn.optimizers import build_optimizer
from renal.learn.run import NOTED, Run, best_epoch
from renal.learn.run_state import Progress, fingerprint_of, read_state, write_state
from renal.learn.schedules import learning_rate
from renal.learn.targets import encode, foreground_maps, probabilities

if TYPE_CHECKING:
    from renal.learn.launch import StopFlag
    from renal.learn.settings import Training

log = logging.getLogger(__name__)

WritesResults = Callable[[Path, Run, Examples, Examples, list[Path], str, torch.device], None]
ManagesMemory = Callable[[list[Case], torch.device], Any]
WatchesRun = Callable[[Run, Path], None]

VOXELS = (0, 2, 3, 4)  # axes of a batch's voxels
SECONDS_BETWEEN_STATES = 60.0
SECONDS_BETWEEN_LINES = 10.0


def train(
    folders: list[Path],
    settings: "Training",
    output: Path,
    *,
    seed: int,
    threads: int,
    bfloat16_on_cpu: bool,
    name: str = "train",
    stop: "StopFlag",
    pretrain: Callable[[torch.nn.Module], None] | None = None,
    write: WritesResults,
    memory: ManagesMemory,
    watch: WatchesRun,
    code: str,
    labels: Labels = KITS19,
) -> None:
    """Train a network and have its results written.

    Parameters
    ----------
    folders : list of Path
        Prepared batches of the training cases.
    settings : Training
        The recipe's training section.
    output : Path
        Folder of the model. The running state lies there as ``state.pt`` until training ends.
    seed : int
        Decides initialisation, split, order and augmentation.
    threads : int
        Cores for torch. The same number gives the same bytes.
    bfloat16_on_cpu : bool
        Mixed precision without a GPU; on a GPU it is used wherever that has it in hardware.
    name : str
        What progress lines call this run.
    stop : StopFlag
        Tells when to stop, in time to store the state.
    pretrain : callable, optional
        Gives the fresh network, on the CPU, the weights to begin with.
    write : callable
        Writes what is left of the run at its end, see `renal.learn.results`: handed in, so that
        another way of writing trains nothing again.
    memory : callable
        Makes what sees to a GPU's memory, see `renal.learn.memory`.
    watch : callable
        Looks at a run after each epoch, and ends one that learns nothing: `renal.learn.collapse`.
    code : str
        Hash of the code that decides the model: with another one a state is not continued.
    labels : Labels
        What the label values mean.

    Raises
    ------
    InputError
        If the run learns nothing any more, or a GPU has too little memory.
    Stopped
        Once `stop` is set: at the end of the epoch, once the state is stored, or within it if it
        goes on for long; then an earlier state is there.
    """
    started = time.monotonic()
    torch.set_num_threads(max(1, threads // processes()))
    device, precision = choose_device(bfloat16_on_cpu=bfloat16_on_cpu)
    torch.manual_seed(seed)
    network = build_network(settings.network, settings.sampler.channels, settings.target)
    if pretrain is not None:
        pretrain(network)
    place(network, settings, device)
    optimizer = build_optimizer(network, settings.optimizer)
    cases = read_cases(folders)
    gpu = memory(cases, device)
    examples, validation = (
        Examples(part, settings, device, gpu.spared)
        for part in split(cases, settings.validation, seed)
    )
    drawing = drawing_of(settings.drawing, examples)
    run = Run(network, optimizer, drawing, settings, seed, precision, labels)
    fingerprint = fingerprint_of(settings, examples, folders, seed, code, labels)
    output.mkdir(parents=True, exist_ok=True)
    writes = rank() == 0
    state = read_state(output / "state.pt", fingerprint)
    if state is not None:
        run.load(state)
        log.info("%s: going on after epoch %d", name, run.progress.epoch)
    progress = run.progress
    before = progress.seconds
    last_state = last_line = time.monotonic()
    while not is_over(settings, progress.history):
        row = _epoch(run, examples, stop)
        if len(validation):
            row |= _validate(run, validation, stop)
        gpu.fill()
        progress.epoch += 1
        progress.seconds = before + time.monotonic() - started
        progress.history.append(row)
        watch(run, output)
        run.keep_best()
        now, last = time.monotonic(), is_over(settings, progress.history)
        stopping = agreed(stop.is_set)
        if now - last_line > SECONDS_BETWEEN_LINES or last:
            log.info("%s: %s", name, _progress_line(row, progress, settings.epochs))
            last_line = now
        due = (now - last_state > SECONDS_BETWEEN_STATES and not last) or stopping
        if due and writes:
            write_state(output / "state.pt", fingerprint, run.state())
            last_state = now
        if stopping and not last:
            raise Stopped(
                f"{name}: stopped after epoch {progress.epoch} of {settings.epochs}: "
                "run again to go on from there"
            )
    run.take_best()
    if writes:
        write(output, run, examples, validation, folders, fingerprint, device)
        (output / "state.pt").unlink(missing_ok=True)


def is_over(settings: "Training", history: list[dict[str, float]]) -> bool:
    """Whether training ends after the epochs of `history`."""
    if len(history) >= settings.epochs:
        return True
    stopping = settings.stopping
    if stopping is None or len(history) < stopping.minimum_epochs:
        return False
    waited, rate = len(history) - 1 - best_epoch(history), learning_rate(settings, history)
    if stopping.patience is not None and waited >= stopping.patience:
        return True
    return stopping.minimum_rate is not None and waited > 0 and rate < stopping.minimum_rate


def _epoch(run: Run, examples: Examples, stop: "StopFlag") -> dict[str, float]:
    """One pass over the training cases; returns the epoch's row of history.csv."""
    settings, labels, history = run.settings, run.labels, run.progress.history
    epoch = len(history)
    seed = (run.seed << 20) + epoch
    torch.manual_seed(seed)
    # Dropout on a GPU differs between processes; all else that is drawn is drawn on the CPU.
    torch.cuda.manual_seed(seed + (rank() << 52))
    rate = learning_rate(settings, history)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.network.train()
    order = run.drawing.order(epoch)
    noted, of_examples = [], []
    for _, image, label in examples.batches(order, seed):
        _stop_if_overdue(stop, epoch)
        image, label = examples.spared(augment, image, label, settings.augmentation)
        target = encode(label, settings.target, labels)
        truth = Truth(target, label, image, epoch)
        loss, gradient, outputs = examples.spared(training_step, run, truth)
        likely = probabilities(outputs[-1], settings.target, labels)
        found, there = likely > 0.5, foreground_maps(target, settings.target, labels)
        dice, share = _dice(found, there, VOXELS), found.sum() / found.numel()
        spread = (likely.amax(VOXELS) - likely.amin(VOXELS)).amax()
        noted.append(torch.stack([loss, gradient, dice.mean(), dice.amin(), share, spread]))
        of_examples.append(_dice(found, there, (2, 3, 4)).mean(1))
    run.drawing.record(order, torch.cat(of_examples))
    run.steps = dict(zip(NOTED, torch.stack(noted).T.tolist(), strict=True))
    return {
        "epoch": epoch + 1,
        "learning_rate": rate,
        **{name: fmean(run.steps[name]) for name in ("loss", "dice", "foreground")},
        "gradient_norm": median(run.steps["gradient"]),
    }


def _validate(run: Run, examples: Examples, stop: "StopFlag") -> dict[str, float]:
    """Loss and Dice of the watched cases; what is drawn of them is the same in every epoch."""
    settings, labels, epoch = run.settings, run.labels, len(run.progress.history)
    run.network.eval()
    losses, scores = [], []
    with torch.inference_mode():
        for part, image, label in examples.batches(list(range(len(examples))), run.seed):
            _stop_if_overdue(stop, epoch)
            truth = Truth(encode(label, settings.target, labels), label, image, epoch)
            with forward_pass(image.device, run.precision):
                outputs = examples.spared(run.forward, image.to(run.precision))
            loss = training_loss(outputs, truth, settings)
            found = probabilities(outputs[-1], settings.target, labels) > 0.5
            there = foreground_maps(truth.target, settings.target, labels)
            losses.append(loss * len(part))
            scores.append(_dice(found, there, VOXELS).mean() * len(part))
    return {
        "validation_loss": float(torch.stack(losses).sum()) / len(examples),
        "validation_dice": float(torch.stack(scores).sum()) / len(examples),
    }


def _stop_if_overdue(stop: "StopFlag", epoch: int) -> None:
    if agreed(stop.is_overdue):
        raise Stopped(f"stopped within epoch {epoch + 1}: run again to go on from the last state")


def training_step(run: Run, truth: Truth) -> tuple[torch.Tensor, torch.Tensor, Outputs]:
    """Forward, backward and update on one batch, (batch, channels, z, y, x) float on the device.

    Returns
    -------
    loss : torch.Tensor
        Detached scalar, left on the device so that a GPU need not wait for it.
    gradient : torch.Tensor
        Norm of the gradient of all parameters, likewise.
    outputs : tuple of torch.Tensor
        Detached logits.
    """
    run.optimizer.zero_grad(set_to_none=True)
    with forward_pass(truth.image.device, run.precision):
        outputs = run.forward(truth.image.to(run.precision))
    loss = training_loss(outputs, truth, run.settings)
    run.scaler.scale(loss).backward()
    run.scaler.unscale_(run.optimizer)
    gradients = (p.grad for p in run.network.parameters() if p.grad is not None)
    norm = torch.nn.utils.get_total_norm(gradients)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return loss.detach(), norm, tuple(output.detach() for output in outputs)


def _dice(found: torch.Tensor, truth: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Dice of (batch, maps, z, y, x) bool over some axes; 1 where both are empty."""
    overlap = (found & truth).sum(axes)
    total = found.sum(axes) + truth.sum(axes)
    return torch.where(total > 0, 2 * overlap / total.clamp(min=1), 1.0)


def _progress_line(row: dict[str, float], progress: Progress, epochs: int) -> str:
    left = progress.seconds / progress.epoch * (epochs - progress.epoch)
    time_left = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min"
    watched = f", validation Dice {row['validation_dice']:.3f}" if "validation_dice" in row else ""
    return (
        f"epoch {progress.epoch}/{epochs}, loss {row['loss']:.3f}, "
        f"training Dice {row['dice']:.3f}{watched}, at most {time_left} left"
    )
