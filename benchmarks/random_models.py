"""Results as trainings leave them, but with random weights: for tests and timings of packages."""

import csv
from pathlib import Path

import torch
from safetensors.torch import save_file

from renal.files import write_json
from renal.handover.checked import CheckedCase, write_checked
from renal.handover.models import model_file
from renal.handover.seals import write_seal
from renal.labels import KITS19
from renal.learn.networks import build_network
from renal.recipe import Configuration, load_methods, prediction, true_folder

RUN = {
    "finished": "2026-01-02T03:04:05+00:00",
    "epochs": 3,
    "kept_epoch": 2,
    "seed": 0,
    "commit": "0123456789ab",
    "parameters": 100,
    "device": "x86_64",
    "torch": "2.13.0",
}


def write_results(configuration: Configuration, cases: list[CheckedCase]) -> None:
    """Write models with random weights, their accounts, records and scores of all rows."""
    results = configuration.results
    recipes = load_methods(configuration)
    folds = [f"fold{fold}" for fold in range(configuration.folds.count)]
    names = [case.name for case in cases]
    write_checked(results / "cases/fold0-000.json", cases)
    lines = ["case,fold,batch", *(f"{name},0,fold0-000" for name in names)]
    (results / "cases.csv").write_text("\n".join(lines) + "\n")
    torch.manual_seed(0)
    for name, recipe in recipes.items():
        for stage_name, stage in recipe.stages.items():
            settings = prediction(stage)
            for fold in folds:
                network = build_network(settings.network, settings.channels_in, settings.target)
                _favour_findings(network)
                path = model_file(results, name, stage_name, fold)
                path.parent.mkdir(parents=True, exist_ok=True)
                save_file(network.state_dict(), path)
                account = RUN | {"cases": names, "validation_cases": []}
                account["settings"] = stage.training.model_dump(mode="json")
                account["prepared"] = "/".join(true_folder(recipes, name, stage_name).parts[-2:])
                write_json(path.with_name("run.json"), account)
                write_seal(path.parent)
        _write_scores(results / name / "scores.csv", folds)
        write_seal(results / name / "scores.csv")


def _favour_findings(network: torch.nn.Module) -> None:
    """So that later stages have something to look at."""
    kinds = (torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear)
    *_, last = (m.bias for m in network.modules() if isinstance(m, kinds) and m.bias is not None)
    with torch.no_grad():
        last.copy_(torch.linspace(1, 2, len(last)))


def _write_scores(path: Path, folds: list[str]) -> None:
    columns = [f"{name}_dice" for name in KITS19.names] + ["composite"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["case", "fold", "grid", *columns])
        for number, _ in enumerate(folds):
            for grid in ("native", "resampled", "ceiling"):
                table.writerow([f"case{number}", number, grid, 0.9 + number / 50, 0.5, 0.7])
