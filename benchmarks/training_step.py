"""Seconds of a training step with data and augmentation against one on a resident batch.

python benchmarks/training_step.py [--stage STAGE] [--size Z Y X] [--steps N] [--width W]

Writes synthetic prepared cases of the stage's size, then times steps on them (reading,
augmentation, forward, backward, update) in turn with steps on one batch that is already there, so
that both meet the same machine. The project's bound for the ratio is 1.05.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from renal import recipe
from renal.augmentations import augment
from renal.datasets import TrainingSet
from renal.files import write_array
from renal.networks import build_network
from renal.prepare import PreparedCase, write_index
from renal.training import training_step


def write_cases(folder: Path, size: tuple[int, int, int], regions: int, count: int) -> None:
    rng = np.random.default_rng(0)
    box = tuple((0, length) for length in size)
    cases = [PreparedCase(f"case_{n:05d}", size, [box] * regions) for n in range(count)]
    for case in cases:
        for region in range(regions):
            image = rng.uniform(-1, 1, size).astype(np.float16)
            write_array(folder / f"{case.name}.{region}.image.npy", image)
            label = (rng.random(size) < 0.05).astype(np.uint8)
            write_array(folder / f"{case.name}.{region}.label.npy", label)
    write_index(folder, cases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", default="whole", choices=["whole", "tumour"])
    parser.add_argument("--size", type=int, nargs=3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true")
    a = parser.parse_args()
    changes = {"training": {"network": {"width": a.width}}}
    if a.size:
        changes["geometry"] = {"size": a.size}
    stage = recipe.load_method("resvnet", {"stages": {a.stage: changes}}).stages[a.stage]
    settings = stage.training
    torch.set_num_threads(a.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = a.bfloat16 or device.type == "cuda"
    network = build_network(settings.network).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    seconds = {"data": [], "resident": []}
    with tempfile.TemporaryDirectory() as folder:
        regions = stage.regions.count if stage.regions else 1
        write_cases(Path(folder), stage.geometry.size, regions, settings.batch_size * 3)
        examples = TrainingSet([Path(folder)], settings, device)
        resident = examples.batch(list(range(settings.batch_size)))
        for step in range(a.steps + 1):  # the first is for warming up
            for kind, spent in seconds.items():
                _wait(device)
                started = time.perf_counter()
                batch = resident
                if kind == "data":
                    order = torch.randperm(len(examples))[: settings.batch_size].tolist()
                    batch = augment(*examples.batch(order), settings.augmentation)
                training_step(network, optimizer, settings, *batch, half)
                _wait(device)
                if step:
                    spent.append(time.perf_counter() - started)
    data, resident_seconds = median(seconds["data"]), median(seconds["resident"])
    memory = (
        torch.cuda.max_memory_allocated() / 2**30
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    )
    print(f"stage {a.stage}, size {stage.geometry.size}, batch {settings.batch_size}, {device}")
    print(f"step with data and augmentation  {data:8.3f} s")
    print(f"step on a resident batch         {resident_seconds:8.3f} s")
    print(f"ratio                            {data / resident_seconds:8.3f}")
    print(f"peak memory                      {memory:8.1f} GB")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
