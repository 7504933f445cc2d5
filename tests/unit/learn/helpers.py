"""Small trainings: settings, cases that are learned fast, and what a training leaves."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from renal import recipe
from renal.files import write_array
from renal.handover.prepared import PreparedCase, write_index
from renal.learn import training
from renal.learn.collapse import end_if_collapsed
from renal.learn.datasets import Examples, read_cases
from renal.learn.drawings import drawing_of
from renal.learn.launch import only_writer, stop_signal
from renal.learn.memory import GpuMemory
from renal.learn.networks import build_network
from renal.learn.optimizers import build_optimizer
from renal.learn.results import write_results
from renal.learn.run import Run
from renal.learn.settings import Training

CPU = torch.device("cpu")
EPOCHS = 4
RESULTS = ("model.safetensors", "history.csv")

UNET = {"name": "unet", "depth": 2, "width": 4, "normalization": "instance"}
VOLUMES = {
    "network": {**UNET, "dimensions": 3},
    "sampler": {"name": "patches", "size": [8, 8, 8], "per_case": 2},
}
SLICES = {"network": {**UNET, "dimensions": 2}, "sampler": {"name": "slices", "context": 3}}
VALIDATION = {"share": 0.34, "keep": "best"}
# Everything that a run remembers: a split, the best model, hard cases, a plateau, random patches.
REMEMBERING = {
    **VOLUMES,
    "drawing": {"name": "hard", "unit": "case", "epochs": 1, "strength": 2, "least": 0.1},
    "optimizer": {"learning_rate": 0.15},
    "schedule": {"name": "plateau", "factor": 0.5, "patience": 1},
    "validation": VALIDATION,
    "stopping": {"patience": 6},
    "epochs": 6,
}


def training_settings(**changes: object) -> Training:
    values = {
        "target": "kidney",
        "sampler": {"name": "volume"},
        "network": {"name": "res_vnet_cascade", "width": 2, "dropout": 0.1},
        "loss": {"name": "dice", "squared": True},
        "optimizer": {"name": "adam", "learning_rate": 3e-3},
        "schedule": {"name": "step", "factor": 0.5, "epochs": 2},
        "epochs": EPOCHS,
        "batch_size": 2,
        "augmentation": [
            {"name": "rotation", "degrees": 90, "fill": -1},
            {"name": "flip", "probability": 0.5},
        ],
    }
    return Training.model_validate(recipe.merged(values, changes))


def write_blocks(folder: Path, count: int, seed: int) -> Path:
    """Prepared cases in which a bright block is the kidney."""
    random = np.random.default_rng(seed)
    cases = []
    for number in range(count):
        name = f"case_{number}"
        label = np.zeros((16, 16, 16), np.uint8)
        z, y, x = random.integers(2, 6, 3)
        label[z : z + 8, y : y + 8, x : x + 8] = 1
        image = np.where(label > 0, 1.0, -1.0) + 0.1 * random.normal(size=label.shape)
        write_array(folder / f"{name}.0.image.npy", image.astype(np.float16))
        write_array(folder / f"{name}.0.label.npy", label)
        cases.append(PreparedCase(name, label.shape, [((0, 16),) * 3]))
    write_index(folder, cases)
    return folder


def run_of(prepared: Path, settings: Training) -> tuple[Run, Examples]:
    """A run that has not begun, and its examples."""
    network = build_network(settings.network, settings.sampler.channels, settings.target)
    examples = Examples(read_cases([prepared]), settings, CPU)
    optimizer = build_optimizer(network, settings.optimizer)
    drawing = drawing_of(settings.drawing, examples)
    return Run(network, optimizer, drawing, settings, 0, torch.float32), examples


def train(
    prepared: Path,
    output: Path,
    minutes: float = math.inf,
    code: str = "",
    seed: int = 5,
    **changes: object,
) -> None:
    settings = training_settings(**changes)
    train_with(settings, prepared, output, minutes=minutes, code=code, seed=seed)


def train_with(
    settings: Training, prepared: Path, output: Path, minutes: float = math.inf, **keywords: object
) -> None:
    """As the step does it."""
    defaults = {"seed": 5, "threads": 1, "bfloat16_on_cpu": False, "name": "tiny"}
    defaults |= {"write": write_results, "memory": GpuMemory, "watch": end_if_collapsed, "code": ""}
    with only_writer(output), stop_signal(minutes) as stop:
        training.train([prepared], settings, output, stop=stop, **{**defaults, **keywords})


def trained(prepared: Path, output: Path, **changes: object) -> Path:
    """The folder of a run that nothing disturbed, on a CPU, for fixtures that several tests use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        train(prepared, output, **changes)
    return output


def assert_same_bytes(first: Path, second: Path) -> None:
    for name in RESULTS:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def read_history(output: Path) -> list[dict[str, float]]:
    with (output / "history.csv").open() as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def read_run(output: Path) -> dict:
    return json.loads((output / "run.json").read_text())
