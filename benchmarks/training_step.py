"""Seconds of a training step with data and augmentation against one on a resident batch.

python benchmarks/training_step.py [--method M] [--stage S] [--size Z Y X] [--steps N] [--width W]

Writes synthetic prepared cases of the stage's size, or of `--size` where the recipe leaves an axis
to the scan, then times steps on them (reading, augmentation, forward, backward, update) in turn
with steps on one batch that is already there, so that both meet the same machine. The project's
bound for the ratio is 1.05.
"""

import argparse
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from renal import recipe
from renal.files import write_array
from renal.handover.prepared import PreparedCase, image_file, label_file, write_index
from renal.image.boxes import three
from renal.labels import Labels
from renal.learn.augmentations import augment
from renal.learn.datasets import Examples, read_cases
from renal.learn.device import choose_device, place
from renal.learn.drawings import drawing_of
from renal.learn.losses import Truth
from renal.learn.networks import build_network
from renal.learn.optimizers import build_optimizer
from renal.learn.run import Run
from renal.learn.settings import Target, Training
from renal.learn.targets import encode, maps_of
from renal.learn.training import training_step
from renal.recipe.schemes import PRESETS


@dataclass(frozen=True)
class Steps:
    """Medians in seconds, and the peak of memory in GB, of the process on a CPU."""

    data: float
    resident: float
    peak: float


def write_cases(folder: Path, size: tuple[int, int, int], regions: int, count: int) -> None:
    rng = np.random.default_rng(0)
    box = three((0, length) for length in size)
    cases = [PreparedCase(f"case_{n:05d}", size, [box] * regions) for n in range(count)]
    for case in cases:
        for region in range(regions):
            image = rng.uniform(-1, 1, size).astype(np.float16)
            write_array(image_file(folder, case.name, region), image)
            label = (rng.random(size) < 0.05).astype(np.uint8)
            write_array(label_file(folder, case.name, region), label)
    write_index(folder, cases)


def scheme_with(target: Target) -> Labels:
    """The scheme of labels that has the regions which a stage learns."""
    return next(known for known in PRESETS.values() if {*maps_of(target)} <= {*known.names})


def timed(prepared: Path, settings: Training, steps: int, *, bfloat16_on_cpu: bool) -> Steps:
    """Time steps of a training on prepared cases, after one for warming up."""
    device, precision = choose_device(bfloat16_on_cpu=bfloat16_on_cpu)
    network = build_network(settings.network, settings.sampler.channels, settings.target)
    place(network, settings, device)
    optimizer = build_optimizer(network, settings.optimizer)
    seconds: dict[str, list[float]] = {"data": [], "resident": []}
    examples = Examples(read_cases([prepared]), settings, device)
    drawing = drawing_of(settings.drawing, examples)
    run = Run(network, optimizer, drawing, settings, 0, precision)
    image, label = examples.batch(list(range(settings.batch_size)), torch.Generator())
    labels = scheme_with(settings.target)
    resident = Truth(encode(label, settings.target, labels), label, image, epoch=0)
    count = settings.batch_size * (steps + 1)
    batches = examples.batches([index % len(examples) for index in range(count)], seed=0)
    for step in range(steps + 1):
        if step == 1 and device.type == "cuda":
            # In the first one cuDNN tries algorithms with all the memory that there is.
            torch.cuda.reset_peak_memory_stats(device)
        for kind, spent in seconds.items():
            _wait(device)
            started = time.perf_counter()
            truth = resident
            if kind == "data":
                _, image, label = next(batches)
                image, label = augment(image, label, settings.augmentation)
                truth = Truth(encode(label, settings.target, labels), label, image, epoch=0)
            training_step(run, truth)
            _wait(device)
            if step:
                spent.append(time.perf_counter() - started)
    peak = (
        torch.cuda.max_memory_allocated(device)
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    return Steps(median(seconds["data"]), median(seconds["resident"]), peak / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="resvnet")
    parser.add_argument("--stage", default="whole")
    parser.add_argument("--size", type=int, nargs=3)
    parser.add_argument("--width", type=int)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true")
    a = parser.parse_args()
    changes = {"training": {"network": {"width": a.width}}} if a.width else {}
    stage = recipe.load_method(a.method, {"stages": {a.stage: changes}}).stages[a.stage]
    size, settings = tuple(a.size or stage.geometry.sizes), stage.training
    torch.set_num_threads(a.threads)
    with tempfile.TemporaryDirectory() as folder:
        regions = stage.regions.count if stage.regions else 1
        write_cases(Path(folder), size, regions, settings.batch_size * 3)
        found = timed(Path(folder), settings, a.steps, bfloat16_on_cpu=a.bfloat16)
    print(f"{a.method} {a.stage}, volumes {size}, batch {settings.batch_size}")
    print(f"step with data and augmentation  {found.data:8.3f} s")
    print(f"step on a resident batch         {found.resident:8.3f} s")
    print(f"ratio                            {found.data / found.resident:8.3f}")
    print(f"peak memory                      {found.peak:8.1f} GB")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
