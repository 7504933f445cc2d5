"""What storing probabilities in 8 bits costs in Dice: float maps against the stored ones.

python benchmarks/quantization.py CONFIGFILE

Needs a finished run with that configuration file, such as demos/tunet.yaml. The held-out cases are
predicted once more, the maps kept in float32, and merged as the run merged the stored ones. Dice is
that of the native grid, averaged over the cases; differences are 8 bits minus float.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from safetensors.torch import load_file

from renal import recipe
from renal.evaluate.merge import merge_case
from renal.evaluate.metrics import region_dice
from renal.handover.case_files import usable_with_files
from renal.handover.predictions import StageProbabilities, mean_probabilities
from renal.handover.prepared import read_images, read_index
from renal.image.volume import read_header, read_label
from renal.labels import KITS19
from renal.learn.arrays import as_tensor
from renal.learn.inferers import infer
from renal.learn.networks import build_network
from renal.learn.targets import probabilities
from renal.settings import settings_hash

REPOSITORY = Path(__file__).resolve().parents[1]


def float_maps(
    results: Path, owner: str, name: str, stage: recipe.Stage, fold: int
) -> dict[str, list[np.ndarray]]:
    """Case name to its (maps, z, y, x) float32 in each region, for the cases that a fold holds out.

    Stages on whole volumes alone.
    """
    settings = recipe.prediction(stage)
    network = build_network(settings.network, settings.channels_in, settings.target).eval()
    network.load_state_dict(load_file(results / owner / name / f"fold{fold}" / "model.safetensors"))

    def predictor(images: torch.Tensor) -> torch.Tensor:
        return probabilities(network(images)[-1], settings.target)

    grid = f"*-{settings_hash(stage.geometry)}"
    intensity = settings_hash(stage.intensity)
    maps = {}
    for folder in results.glob(f"normalized/{grid}/{intensity}/fold{fold}-*"):
        for case in read_index(folder).values():
            with torch.inference_mode():
                images = [as_tensor(image).float() for image in read_images(folder, case)]
                found = infer(images, predictor, settings.inference, context=settings.channels_in)
                maps[case.name] = [region.numpy() for region in found]
    return maps


def mean_of(members: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Regions of the mean of several predictions of one case."""
    return [np.mean(regions, axis=0) for regions in zip(*members, strict=True)]


def scores(
    results: Path, recipes: dict[str, recipe.Method], rows: list[str], fold: int
) -> list[list[object]]:
    """One line a row and held-out case: Dice of both, and voxels whose label differs."""
    models = {
        (owner, name)
        for row in rows
        for name in recipe.merging(recipes, row).stages
        for owner in recipe.owners_of(recipes, row, name)
    }
    predicted = {
        (owner, name): float_maps(results, owner, name, recipes[owner].stages[name], fold)
        for owner, name in models
    }
    lines = []
    records = sorted(results.glob(f"cases/fold{fold}-*.json"))
    for case in usable_with_files(records, results / "files.json"):
        truth = read_label(read_header(case.label_path))
        for row in rows:
            method = recipe.merging(recipes, row)
            stored: dict[str, StageProbabilities] = {}
            unrounded: dict[str, StageProbabilities] = {}
            for name in method.stages:
                owners = recipe.owners_of(recipes, row, name)
                folders = [results / o / name / "prediction" / f"fold{fold}" for o in owners]
                stored[name] = mean_probabilities(folders, case.name)
                members = [predicted[owner, name][case.name] for owner in owners]
                unrounded[name] = stored[name][0], mean_of(members)
            labels = [merge_case(stages, method) for stages in (unrounded, stored)]
            dice = [value for label in labels for value in region_dice(label, truth).values()]
            lines.append([row, *dice, int((labels[0] != labels[1]).sum())])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configfile", type=Path)
    a = parser.parse_args()
    values = [
        yaml.safe_load(path.read_text()) for path in (REPOSITORY / "config.yaml", a.configfile)
    ]
    configuration = recipe.check_configuration(recipe.merged(*values))
    recipes = recipe.load_methods(configuration)
    folds = range(configuration.folds.count)
    lines = [
        line
        for fold in folds
        for line in scores(
            configuration.results,
            recipes,
            list(configuration.methods),
            fold,
        )
    ]
    regions = KITS19.names
    columns = ["row", *regions, *(f"{region}8" for region in regions), "voxels"]
    table = pd.DataFrame(lines, columns=columns)
    shown = table.groupby("row", sort=False).agg(cases=("row", "size"))
    for region in regions:
        shown[region] = table.groupby("row")[region].mean()
        difference = (table[f"{region}8"] - table[region]).groupby(table["row"])
        shown[f"{region} difference"] = difference.mean()
        shown[f"{region} largest"] = difference.agg(lambda values: values.abs().max())
    shown["voxels"] = table.groupby("row")["voxels"].mean()
    print(shown.to_string(float_format="{:.5f}".format))


if __name__ == "__main__":
    main()
