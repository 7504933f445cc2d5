"""A row of tiny networks with random weights, packed, and a run that is finished, archived."""

from pathlib import Path

import numpy as np
import pytest
import torch
from random_models import write_results

from renal.apply.archive import gather, write_archive
from renal.apply.export import export
from renal.apply.package import read_package
from renal.evaluate.collect import collect_scores
from renal.evaluate.comparison import compare
from renal.evaluate.evaluation import evaluate
from renal.evaluate.settings import Merging
from renal.image.volume import read_header, read_label, write_like
from renal.recipe import check_configuration, load_methods, models_of, row
from renal.report.comparison import write_comparison
from renal.report.tables import write_tables
from renal.report.tables_of_tests import write_test_tables

from ..recipe.helpers import configuration_values

TINY = {
    "whole": {"geometry": {"size": [16, 32, 32]}, "training": {"network": {"width": 2}}},
    "tumour": {"geometry": {"size": [16, 32, 32]}, "training": {"network": {"width": 2}}},
}


@pytest.fixture(autouse=True)
def one_cpu_thread(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)


def tiny_configuration(folder: Path, **changes):
    values = configuration_values() | {"results": str(folder / "results")}
    values["folds"] = {"count": 2, "seed": 0}
    values["overrides"] = {"resvnet": {"stages": TINY}}
    return check_configuration(values | changes)


@pytest.fixture(scope="session")
def packed(tmp_path_factory, checked) -> Path:
    """The package of a tiny resvnet; not to be changed."""
    folder = tmp_path_factory.mktemp("packed")
    configuration = tiny_configuration(folder)
    write_results(configuration, [case for case in checked if case.labelled])
    export("resvnet", configuration, folder / "resvnet.renal")
    return folder / "resvnet.renal"


@pytest.fixture
def opened(packed):
    return read_package(packed)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, checked):
    """Two rows on two cases and a test, scored and tabulated, and its folder; not to be changed."""
    folder = tmp_path_factory.mktemp("finished_run")
    configuration = tiny_configuration(
        folder,
        methods=["resvnet", "nnunet_segmentations"],
        overrides={
            "resvnet": {"stages": TINY},
            "nnunet_segmentations": {"external": {"folder": str(folder / "elsewhere")}},
        },
    )
    results, labelled = configuration.results, [case for case in checked if case.labelled]
    write_results(configuration, labelled)
    (results / "folds.csv").write_text("# folds=2\ncase,fold,batch\n")
    recipes = load_methods(configuration)
    names = [case.name for case in labelled[:2]]
    rows = {name: row(recipes, name, names) for name in configuration.methods}
    for place, (name, told) in enumerate(rows.items(), start=1):
        segmentations = results / name / "segmentation"
        for case in labelled:
            header = read_header(Path(case.label))
            truth = np.roll(read_label(header), place, axis=2)
            write_like(segmentations / f"{case.name}.nii.gz", truth, header)
        parts = [results / name / "scores" / f"{part}.csv" for part in ("fold0", "fold1", "test")]
        for case, fold, path in zip(labelled, (0, 1, None), parts, strict=True):
            settings = Merging(family=told.family)
            evaluate([case], segmentations, {}, settings, path, name=name, fold=fold)
        collect_scores(parts[:2], results / name / "scores.csv")
        collect_scores(parts[2:], results / name / "test_scores.csv")
    scores = [results / name / "scores.csv" for name in rows]
    write_tables(scores, rows, results / "tables")
    tests = [results / name / "test_scores.csv" for name in rows]
    tested = {name: row(recipes, name, [labelled[2].name]) for name in rows}
    write_test_tables(tests, tested, results / "tables")
    found = compare(scores, {name: models_of(recipes, name) for name in rows})
    write_comparison(found, rows, results / "tables")
    return configuration, folder


@pytest.fixture(scope="session")
def archived(finished_run, tmp_path_factory) -> Path:
    """The archive of a run; not to be changed."""
    path = tmp_path_factory.mktemp("archived") / "run.zip"
    write_archive(path, *gather(finished_run[0], segmentations=True))
    return path
