"""A trained row packed into one file."""

import csv
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from renal.apply.finished import account_of, recorded_cases
from renal.apply.package import (
    FORMAT,
    Package,
    PackedStage,
    Provenance,
    Score,
    Trained,
    WholeVolume,
    write_package,
)
from renal.apply.stored import file_digest
from renal.errors import InputError
from renal.handover.models import model_file
from renal.handover.seals import check_seal
from renal.learn.settings import Prediction
from renal.recipe import (
    Configuration,
    Method,
    load_methods,
    merging,
    owners_of,
    prediction,
    region_crop,
)
from renal.settings import as_values

INTENDED_USE = (
    "Research use, not a medical device. Segments kidneys and kidney tumours in contrast-enhanced "
    "CTs of the abdomen like those that it was trained on."
)
LICENCE = (
    "The program is under the MIT licence; the models are bound by the terms of the data that they "
    "were trained on (KiTS19: CC BY-NC-SA 4.0)."
)


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
        If there is no such row, it has no models of its own or of another row, one of them, the
        scores or a record is missing, a model or the scores are not as they were written, or a
        model was trained with other values than the recipe has now.
    """
    recipes = load_methods(configuration)
    if row not in recipes:
        raise InputError(
            f"config.yaml: methods: no {row!r} ({', '.join(configuration.methods)}): add it there"
        )
    if recipes[row].merge is None:
        raise InputError(
            f"{row}: a vote, a mean of rows, nnU-Net or another program, which have no models to "
            "pack: export a row of networks"
        )
    stages: dict[str, PackedStage] = {}
    labels = configuration.data.scheme
    settings = merging(recipes, row, labels)
    merged = {
        stage: tuple(f"{owner}/{stage}" for owner in owners_of(recipes, row, stage))
        for stage in settings.stages
    }
    for stage in merged:
        for owner in owners_of(recipes, row, stage):
            _pack(recipes, owner, stage, configuration.folds.count, stages)
    results = configuration.results
    models, accounts = {}, {}
    for key, packed in stages.items():
        owner, _, stage = key.partition("/")
        for fold, name in enumerate(packed.models):
            models[name] = model_file(results, owner, stage, f"fold{fold}")
            if not models[name].exists():
                raise InputError(
                    f"{models[name]}: missing: train the row first: snakemake {row}; or this model "
                    f"again, if it was deleted: snakemake {models[name]}"
                )
            accounts[name] = account_of(models[name], recipes, owner, stage)
    write_package(
        output,
        Package(
            format=FORMAT,
            name=row,
            title=recipes[row].title,
            intended_use=INTENDED_USE,
            licence=LICENCE,
            labels=dict(labels.tissues),
            scheme=labels,
            folds=configuration.folds.count,
            bfloat16_on_cpu=configuration.compute.bfloat16_on_cpu,
            stages=stages,
            merged=merged,
            merging=settings,
            provenance=_provenance(
                row, results, recipes, accounts, settings.regions or labels.names
            ),
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
        prediction=_without_beginning(prediction(stage)),
        models=tuple(f"models/{key}/fold{fold}.safetensors" for fold in range(folds)),
    )


def _without_beginning(stage: Prediction) -> Prediction:
    """Without the file of weights that the training began with."""
    if stage.network.weights is None:
        return stage
    network = stage.network.model_copy(update={"pretrained": None})
    return stage.model_copy(update={"network": network})


def _provenance(
    row: str,
    results: Path,
    recipes: dict[str, Method],
    runs: dict[str, dict[str, Any]],
    regions: tuple[str, ...],
) -> Provenance:
    names = {case for run in runs.values() for case in run["cases"] + run["validation_cases"]}
    cases = [case for name, case in recorded_cases(results).items() if name in names]
    if len(cases) < len(names):
        raise InputError(
            f"{results / 'cases'}: {len(names) - len(cases)} of the cases that were learned from "
            "have no record: run the workflow again"
        )
    spacings = [case.spacing_mm for case in cases]
    fields = [
        min(length * step for length, step in zip(case.shape[1:], spacing[1:], strict=True))
        for case, spacing in zip(cases, spacings, strict=True)
        if case.shape is not None
    ]
    return Provenance(
        cases=tuple(sorted(case.checksum for case in cases)),
        scores=_scores(results / row / "scores.csv", regions),
        slice_spacing_mm=(min(z for z, _, _ in spacings), max(z for z, _, _ in spacings)),
        field_of_view_mm=(min(fields), max(fields)),
        trainings={
            name: Trained(**{key: run[key] for key in Trained.model_fields})
            for name, run in runs.items()
        },
        recipes={
            name: _without_folders(as_values(recipe))
            for name, recipe in recipes.items()
            if any(model.split("/")[1] == name for model in runs) or name == row
        },
    )


def _scores(path: Path, regions: tuple[str, ...]) -> dict[str, Score]:
    """Mean and SD over folds of the Dice on the scanner's voxels."""
    check_seal(path)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [line for line in csv.DictReader(stream) if line["grid"] == "native"]
        columns = {name: f"{name}_dice" for name in regions}
        if any(line["composite"] for line in rows):  # of a row that looks for all regions
            columns["composite"] = "composite"
        scores = {}
        for name, column in columns.items():
            folds: dict[str, list[float]] = {}
            for line in rows:
                folds.setdefault(line["fold"], []).append(float(line[column]))
            means = [mean(values) for values in folds.values()]
            scores[name] = Score(mean=mean(means), sd=stdev(means))
        return scores
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: missing or damaged ({error}): run the workflow again, so that the package "
            "can say how good it is"
        ) from error


def _without_folders(values: Any) -> Any:
    """A recipe without the folders of files that it names."""
    if isinstance(values, dict):
        return {
            key: Path(value).name if key == "file" else _without_folders(value)
            for key, value in values.items()
        }
    return values
