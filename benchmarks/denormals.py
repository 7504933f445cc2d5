"""Seconds that a CPU takes for a gradient of denormal numbers, and for the same with 0 for them.

python benchmarks/denormals.py [--steps N]

Gradients become that small where a network is certain. Here the loss is multiplied by 1e-38, so
that all of them are: the worst case. Trainings take 0 for such numbers.
"""

import argparse
import time
from statistics import median

import torch

from renal import recipe
from renal.learn.networks import build_network

STAGES = [
    ("resvnet_plain", "whole"),
    ("resvnet", "whole"),
    ("msvnet", "kidney"),
    ("tunet", "segment"),
]
SIZE = (16, 32, 32)  # voxels (z, y, x)
WIDTH = 8
REST = 1e-38


def seconds(network: torch.nn.Module, image: torch.Tensor, steps: int, *, flush: bool) -> float:
    """The median time of a backward pass for an image, (1, channels, z, y, x)."""
    torch.set_flush_denormal(flush)
    spent = []
    for _ in range(steps):
        found = network(image)
        maps = found if isinstance(found, list | tuple) else [found]
        loss = REST * sum(part.square().mean() for part in maps)
        started = time.perf_counter()
        loss.backward()
        spent.append(time.perf_counter() - started)
    return median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    a = parser.parse_args()
    torch.set_num_threads(1)  # others keep what they began with
    print("| stage | denormal, s | 0 for them, s | ratio |\n|---|---|---|---|")
    for method, stage in STAGES:
        change = {"stages": {stage: {"training": {"network": {"width": WIDTH}}}}}
        training = recipe.load_method(method, change).stages[stage].training
        torch.manual_seed(0)
        network = build_network(training.network, training.sampler.channels, training.target)
        image = torch.randn(1, training.sampler.channels, *SIZE)
        slow, fast = (seconds(network, image, a.steps, flush=flush) for flush in (False, True))
        print(f"| `{method} {stage}` | {slow:.2f} | {fast:.2f} | {slow / fast:.1f} |", flush=True)


if __name__ == "__main__":
    main()
