"""A trained row packed into one file."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from renal.apply.package import (
    FORMAT,
    Package,
    PackedStage,
    Provenance,
    Score,
    WholeVolume,
    write_package,
)
from renal.errors import InputError
from renal.files import read_json
from renal.handover.checked import CheckedCase, read_checked
from renal.handover.models import model_file
from renal.labels import KITS19
from renal.recipe import (
    Configuration,
    Method,
    load_methods,
    merging,
    owners_of,
    prediction,
    region_crop,
    stage_of,
)
from renal.settings import as_values
from renal.sources import file_digest

INTENDED_USE = (
    "Research use, not a medical device. Segments kidneys and kidney tumours in contrast-enhanced "
    "CTs of the abdomen like those that it was trained on."
)
LICENCE = (
    "The program is under the MIT licence; the models are bound by the terms of the data that they "
    "were trained on (KiTS19: CC BY-NC-SA 4.0)."
)
# What of run.json is neither about the machine's paths nor about the cases' names.
TOLD = ("finished", "epochs", "kept_epoch", "seed", "commit", "parameters", "device", "torch")


def export(row: str, configuration: Configuration, output: Path) -> None:
    """Write the package of a row.

    Parameters
    ----------
    row : str
        A method of the configuration.
    configuration : Configuration
        config.yaml, whose results folder holds the trained models.
    output : Path
        The file to write.

    Raises
    ------
    InputError
        If there is no such row, or a model or record is missing.
    """
    recipes = load_methods(configuration)
    if row not in recipes:
        raise InputError(
            f"config.yaml: methods: no {row!r} ({', '.join(configuration.methods)}): add it there"
        )
    stages: dict[str, PackedStage] = {}
    settings = merging(recipes, row)
    merged = {
        stage: tuple(f"{owner}/{stage}" for owner in owners_of(recipes, row, stage))
        for stage in settings.stages
    }
    for stage in merged:
        for owner in owners_of(recipes, row, stage):
            _pack(recipes, owner, stage, configuration.folds.count, stages)
    results = configuration.results
    models = {
        name: model_file(results, *key.split("/"), fold)
        for key, stage in stages.items()
        for fold, name in enumerate(stage.models)
    }
    if missing := [path for path in models.values() if not path.exists()]:
        raise InputError(f"{missing[0]}: missing: train the row first: snakemake {row}")
    write_package(
        output,
        Package(
            format=FORMAT,
            name=row,
            title=recipes[row].title,
            intended_use=INTENDED_USE,
            licence=LICENCE,
            labels=dict(KITS19.tissues),
            folds=configuration.folds.count,
            bfloat16_on_cpu=configuration.compute.bfloat16_on_cpu,
            stages=stages,
            merged=merged,
            merging=settings,
            provenance=_provenance(row, results, recipes, models),
            hashes={name: file_digest(path) for name, path in models.items()},
        ),
        models,
    )


def _pack(
    recipes: dict[str, Method], method: str, name: str, folds: int, stages: dict[str, PackedStage]
) -> None:
    """Add a stage of its owner, after the one that locates its regions."""
    key, stage = f"{method}/{name}", recipes[method].stages[name]
    if key in stages:
        return
    locator = None
    sees: Any = WholeVolume(geometry=stage.geometry, intensity=stage.intensity)
    if stage.regions is not None:
        (owner,) = owners_of(recipes, method, stage.regions.stage)
        _pack(recipes, owner, stage.regions.stage, folds, stages)
        locator = f"{owner}/{stage.regions.stage}"
        sees = region_crop(recipes, method, name)
    stages[key] = PackedStage(
        sees=sees,
        locator=locator,
        prediction=prediction(stage),
        models=tuple(f"models/{key}/fold{fold}.safetensors" for fold in range(folds)),
    )
