"""Whether a stage learns: short trainings from several seeds, and their Dice on held-out cases.

python benchmarks/convergence.py DATA WORK [--method M] [--stage S] [--size Z Y X] [--change YAML]
    [--more YAML] [--form NAME] [--cases N] [--held-out N] [--steps N] [--seeds 0 1 2] [--threads N]
    [--bfloat16]

The stage of a recipe is trained on the first labelled cases of DATA for so many steps, on true
regions where it looks at regions, and scored on its own grid on the cases after them. `--change`
goes over the stage as config.yaml's overrides do, `--more` over that, and `--form` names what they
make. The held-out loss is that of the examples that the stage has without `--more`, so that forms
with other examples are measured alike. Each seed is a row of WORK/convergence.csv once it is
trained: what stands there is not trained again, and a training that was stopped goes on. At the end
the whole table is printed, a line for each form.
"""

import argparse
import logging
import shutil
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from renal import recipe
from renal.data.cases import find_cases
from renal.errors import InputError
from renal.evaluate.metrics import dice
from renal.handover.checked import CheckedCase
from renal.handover.predictions import read_probabilities
from renal.handover.prepared import read_index, read_labels
from renal.image.volume import read_header
from renal.labels import KITS19
from renal.learn.collapse import end_if_collapsed
from renal.learn.datasets import Examples, read_cases, split
from renal.learn.denormals import denormals_as_zero
from renal.learn.drawings import drawing_of
from renal.learn.launch import only_writer, stop_signal
from renal.learn.losses import Truth, training_loss
from renal.learn.memory import GpuMemory
from renal.learn.prediction import network_with, predict
from renal.learn.results import write_results
from renal.learn.targets import encode, maps_of
from renal.learn.training import train
from renal.prepare.crop_body import crop_body
from renal.prepare.crop_roi import crop_roi, true_mask
from renal.prepare.resample import resample
from renal.prepare.window_normalize import window_normalize
from renal.settings import as_json

GROUP = ["data", "method", "stage", "form", "size", "steps"]
DECIMALS = 3


@dataclass(frozen=True)
class Trial:
    """A stage of a recipe, what is changed of it and more, and what it is trained on."""

    method: str
    name: str
    changes: dict[str, Any]
    more: dict[str, Any]
    cases: list[CheckedCase]
    held_out: list[CheckedCase]
    work: Path

    @cached_property
    def recipes(self) -> dict[str, recipe.Method]:
        return self._with(recipe.merged(self.changes, self.more))

    def _with(self, changes: dict[str, Any]) -> dict[str, recipe.Method]:
        overrides = {"stages": {self.name: changes}}
        own = recipe.load_method(self.method, overrides)
        others = {name for member in own.members.values() for name in member.of}
        return {self.method: own} | {name: recipe.load_method(name, {}) for name in others}

    @cached_property
    def stage(self) -> recipe.Stage:
        return self.recipes[self.method].stages[self.name]

    @cached_property
    def training_folder(self) -> Path:
        return self._prepared(self.cases, recipe.true_region_crop)

    @cached_property
    def held_out_folder(self) -> Path:
        return self._prepared(self.held_out, recipe.region_crop)

    def _prepared(self, cases: list[CheckedCase], crop_of: Any) -> Path:
        """The folder of prepared cases; what is there is taken as it is."""
        stage, names = self.stage, [case.image for case in cases]
        key = repr([crop_of.__name__, stage.geometry, stage.intensity, stage.regions, names])
        folder = self.work / f"{self.method}-{self.name}-{sha256(key.encode()).hexdigest()[:8]}"
        if (folder / "cases.json").exists():
            return folder
        if self.stage.regions:
            crop = crop_of(self.recipes, self.method, self.name)
            crop_roi(cases, crop, lambda case: true_mask(case, crop.outer), folder)
            return folder
        body = self.stage.geometry.body
        boxes = folder / "body.json" if body else None
        if body and boxes:
            crop_body(cases, body, boxes)
        resample(cases, self.stage.geometry, folder / "resampled", boxes=boxes)
        window_normalize(folder / "resampled", self.stage.intensity, folder)
        return folder

    def epochs(self, steps: int, seed: int) -> int:
        """How many epochs have so many steps; the last may have some more."""
        settings = self.stage.training
        learned, _ = split(read_cases([self.training_folder]), settings.validation, seed)
        examples = Examples(learned, settings, torch.device("cpu"))
        drawn = len(drawing_of(settings.drawing, examples).order(0))
        return -(-steps // -(-drawn // settings.batch_size))

    def run(self, steps: int, seed: int, threads: int, bfloat16: bool) -> dict[str, Any]:
        """Train from a seed and score: figures of the last epoch and the held-out Dice."""
        settings = self.stage.training.model_copy(update={"epochs": self.epochs(steps, seed)})
        key = sha256(f"{as_json(settings)} {seed} {self.training_folder}".encode()).hexdigest()
        model = self.work / f"training-{key[:8]}"
        try:
            with only_writer(model), stop_signal() as stop, denormals_as_zero():
                train(
                    [self.training_folder],
                    settings,
                    model,
                    seed=seed,
                    threads=threads,
                    bfloat16_on_cpu=bfloat16,
                    name=f"{self.method} {self.name} seed {seed}",
                    stop=stop,
                    write=write_results,
                    memory=GpuMemory,
                    watch=end_if_collapsed,
                    code="",
                )
        except InputError as error:
            return {"outcome": str(error).removeprefix(f"{model}: ")}
        last = pd.read_csv(model / "history.csv").drop(columns="epoch").iloc[-1]
        found = self.score(model, threads, bfloat16) | {"held-out loss": self.loss(model)}
        shutil.rmtree(model)
        return {"outcome": "trained", **{str(name): value for name, value in last.items()}, **found}

    def loss(self, model: Path) -> float:
        """Mean loss over the held-out cases' examples, as they are without `more`."""
        settings = self._with(self.changes)[self.method].stages[self.name].training
        trained = recipe.prediction(self.stage)
        network = network_with((model / "model.safetensors").read_bytes(), trained).eval()
        examples = Examples(read_cases([self.held_out_folder]), settings, torch.device("cpu"))
        losses = []
        with torch.inference_mode():
            for part, image, label in examples.batches(list(range(len(examples))), seed=0):
                truth = Truth(encode(label, settings.target, KITS19), label, image, 0)
                loss = training_loss(network(image), truth, settings)
                losses += [float(loss)] * len(part)
        return fmean(losses)

    def score(self, model: Path, threads: int, bfloat16: bool) -> dict[str, float]:
        """Mean Dice of each map over the held-out cases, on the stage's grid."""
        settings, output = recipe.prediction(self.stage), model / "prediction"
        weights, folder = [model / "model.safetensors"], self.held_out_folder
        predict([folder], weights, settings, output, threads=threads, bfloat16_on_cpu=bfloat16)
        names = maps_of(settings.target)
        scores: dict[str, list[float]] = {name: [] for name in names}
        for case in read_index(folder).values():
            found = [maps > 0.5 for maps in read_probabilities(output, case)]
            labels = read_labels(folder, case)
            for number, name in enumerate(names):
                truth = [KITS19.region(name).mask(label) for label in labels]
                if settings.network.classifies:
                    truth = [mask.any((1, 2), keepdims=True) for mask in truth]
                mine = [maps[number] for maps in found]
                pairs = [(a.ravel(), b.ravel()) for a, b in zip(mine, truth, strict=True)]
                both = [np.concatenate(side) for side in zip(*pairs, strict=True)]
                scores[name].append(dice(both[0], both[1]))
        return {f"held-out {name}": float(np.mean(values)) for name, values in scores.items()}


def cases_of(data: Path, count: int) -> list[CheckedCase]:
    """The first labelled cases of a data set."""
    cases = [case for case in find_cases(data) if case.labelled][:count]
    if len(cases) < count:
        raise InputError(f"{data}: {len(cases)} labelled cases, but {count} are asked for")
    headers = [read_header(case.image) for case in cases]
    return [
        CheckedCase(
            case.name, str(case.image), str(case.label), list(header.shape), list(header.spacing)
        )
        for case, header in zip(cases, headers, strict=True)
    ]


def printed(table: pd.DataFrame) -> str:
    """A line for each form: the held-out Dice of its seeds, and what became of those without."""
    lines = []
    for key, rows in table.groupby(GROUP, sort=False):
        rows = rows.sort_values("seed")
        parts = [f"{name} {value}" for name, value in zip(GROUP, key, strict=True)]
        scored = [name for name in map(str, rows) if name.startswith("held-out")]
        for column in (name for name in scored if rows[name].any()):
            values = " ".join(f"{value:.{DECIMALS}f}" for value in rows[column].fillna(0))
            parts.append(f"{column}: {values}")
        ended = rows[rows["outcome"] != "trained"]
        parts += [f"seed {row.seed} ended: {row.outcome}" for row in ended.itertuples()]
        lines.append("; ".join(parts))
    return "\n".join(lines)


def main() -> None:
    """Train what is missing of the table, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--method", default="resvnet")
    parser.add_argument("--stage", default="whole")
    parser.add_argument("--size", type=int, nargs=3)
    parser.add_argument("--change", type=yaml.safe_load, default={})
    parser.add_argument("--more", type=yaml.safe_load, default={})
    parser.add_argument("--form", default="recipe")
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--held-out", type=int, default=6)
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bfloat16", action="store_true")
    a = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    changes = recipe.merged({"geometry": {"size": a.size}} if a.size else {}, a.change)
    cases = cases_of(a.data, a.cases + a.held_out)
    learned, held_out = cases[: a.cases], cases[a.cases :]
    trial = Trial(a.method, a.stage, changes, a.more, learned, held_out, a.work)
    size = "x".join(str(length or "scan") for length in trial.stage.geometry.sizes)
    table, rows = a.work / "convergence.csv", pd.DataFrame()
    values = (str(a.data), a.method, a.stage, a.form, size, a.steps)
    for seed in a.seeds:
        rows = pd.read_csv(table) if table.exists() else pd.DataFrame(columns=[*GROUP, "seed"])
        key = dict(zip(GROUP, values, strict=True)) | {"seed": seed}
        if (rows[list(key)] == pd.Series(key)).all(axis=1).any():
            continue
        row = key | trial.run(a.steps, seed, a.threads, a.bfloat16)
        rows = pd.concat([rows, pd.DataFrame([row])], ignore_index=True)
        rows.to_csv(table, index=False)
    print(printed(rows))


if __name__ == "__main__":
    main()
