"""The methods that look into a located region: what is planned, and a run of both."""

import functools
import hashlib
import logging
from itertools import product

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from renal import recipe
from renal.data.phantom import write_phantom
from renal.evaluate.merge import merge
from renal.handover.case_files import usable_with_files
from renal.handover.predictions import native_mask_of, read_probabilities, write_probabilities
from renal.handover.prepared import read_index, write_index
from renal.learn.networks.resnet import ResNet34
from renal.learn.prediction import predict
from renal.prepare.crop_roi import crop_roi

from .conftest import (
    Project,
    assert_segmented_in_native_geometry,
    demo_on,
    make_project,
)

STAGES = {"mrbnet": ["zrange", "locate", "segment"], "damnet": ["coarse", "fine"]}

# -- what is planned -----------------------------------------------------------------------------


def test_full_plan(sketch):
    """12 labelled cases in 7 batches, 3 unlabelled ones in 2, and 7 groups for prediction."""
    sketch.configure({"methods": ["mrbnet", "damnet"]})
    assert sketch.plan() == {
        "validate": 9,
        "list_cases": 1,
        "check_cases": 1,
        "resample": 9,  # both begin on the same grid
        "window_normalize": 2 * 9,
        "download_weights": 1,
        "crop_true_roi": (2 + 1) * 7,
        "train": (3 + 2) * 5,
        "predict": (3 + 2) * 7,
        "crop_roi": (2 + 1) * 7,
        "merge": 2 * 7,
        "evaluate": 2 * 5,
        "collect_scores": 2,
        "collect_segmentations": 2,
        "write_submission": 2,
        "write_tables": 1,
        "compare": 1,
        "draw_comparison": 1,
        "draw_gallery": 1,
        "write_page": 1,
        "draw_overlays": 2,
        "draw_curves": 3 + 2,
        "draw_located": 2,
        "check_segmented": 1,
    }


@pytest.mark.parametrize(
    ("method", "stages"),
    [("resvnet", 2), ("mrbnet", 3), ("damnet", 2), ("tunet", 1), ("msvnet", 2)],
)
def test_method_by_name(sketch, method, stages):
    sketch.configure({"methods": ["resvnet", "mrbnet", "damnet", "tunet", "msvnet"]})
    plan = sketch.plan(method)
    assert plan["train"] == stages * 5
    assert plan["predict"] == stages * 7
    assert plan.get("crop_roi", 0) == (stages - 1) * 7
    assert plan["merge"] == 7
    assert "write_tables" not in plan


def test_every_model_by_name(sketch):
    sketch.configure({"methods": list(STAGES)})
    wanted = {
        (method, stage, fold)
        for method, stages in STAGES.items()
        for stage, fold in product(stages, range(5))
    }
    targets = [
        f"results/{method}/{stage}/fold{fold}/model.safetensors" for method, stage, fold in wanted
    ]
    assert sketch.planned(*targets).trainings == wanted


# -- a run ---------------------------------------------------------------------------------------

LABELLED, UNLABELLED = 20, 2


@pytest.fixture(scope="module")
def localized(demo_data, tmp_path_factory) -> Project:
    """The demo of both methods: about five minutes on two cores."""
    configuration = demo_on(demo_data, "localized", {"methods": list(STAGES)})
    overrides = configuration["overrides"]
    configuration["overrides"] = {method: overrides[method] for method in STAGES}
    project = make_project(tmp_path_factory.mktemp("localized"), configuration)
    run = project.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return project


def images(project: Project) -> list:
    data = yaml.safe_load((project.folder / "run.yaml").read_text())["data"]
    paths = sorted((project.folder / data["root"]).glob("case_*/imaging.nii.gz"))
    return [path for path in paths if path.parent.name not in data["exclude"]]


@pytest.mark.slow
def test_they_learn(localized):
    table = pd.read_csv(localized.folder / "results/tables/cv.csv")
    means = table.set_index(["method", "grid", "metric"])["mean"]
    for method in STAGES:
        assert means[method, "native", "kidney_dice"] >= 0.8
        assert means[method, "ceiling", "kidney_dice"] > means[method, "native", "kidney_dice"]


@pytest.mark.slow
@pytest.mark.parametrize("method", STAGES)
def test_every_case_is_segmented_in_its_geometry(localized, method):
    assert len(images(localized)) == LABELLED + UNLABELLED
    folder = localized.folder / "results" / method
    assert_segmented_in_native_geometry(folder / "segmentation", images(localized))
    for name in ("case_00030", "case_00031"):  # no label: the mean of the folds
        segmentation = nib.load(folder / f"segmentation/{name}.nii.gz")
        assert np.asanyarray(segmentation.dataobj).any()
    assert (folder / "submission/prediction_00031.nii.gz").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "least"), [("mrbnet", 0.95), ("damnet", 0.9)])
def test_regions_hold_the_kidneys(localized, method, least):
    scores = pd.read_csv(localized.folder / f"results/{method}/scores.csv")
    native = scores[scores["grid"] == "native"].set_index("case")
    assert len(native) == LABELLED
    for column in ("located_kidney", "located_tumour"):
        assert native[column].dropna().between(0, 1).all()
        assert native[column].mean() >= least
    assert native["located_kidney"].notna().all()
    without_tumour = native.index[native["located_tumour"].isna()].tolist()
    assert without_tumour == ["case_00008"]
    assert scores.loc[scores["grid"] != "native", "located_kidney"].isna().all()
    assert (localized.folder / f"results/{method}/pictures/located.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", STAGES)
def test_nothing_located_gives_an_empty_segmentation(
    localized, method, tmp_path, monkeypatch, caplog
):
    """The first stage's prediction is emptied, and the steps after it are run by hand."""
    monkeypatch.chdir(localized.folder)
    configuration = yaml.safe_load((localized.folder / "run.yaml").read_text())
    recipes = {method: recipe.load_method(method, configuration["overrides"][method])}
    record = localized.folder / "results/cases/fold0-000.json"
    cases = usable_with_files([record], localized.folder / "results/files.json")[:1]
    first, *others = STAGES[method]
    predictions = localized.folder / f"results/{method}/{first}/prediction/fold0"
    entry = read_index(predictions)[cases[0].name]
    (found,) = read_probabilities(predictions, entry)
    assert found.any()
    write_probabilities(tmp_path / first, entry, [np.zeros_like(found)])
    write_index(tmp_path / first, [entry])
    for earlier, stage in zip([first, *others], others, strict=False):
        mask_of = functools.partial(native_mask_of, tmp_path / earlier)
        crop = recipe.region_crop(recipes, method, stage)
        region = tmp_path / f"{stage}_roi"
        assert crop_roi(cases, crop, mask_of, region) == [cases[0].name]
        predict(
            [region],
            [localized.folder / f"results/{method}/{stage}/fold0/model.safetensors"],
            recipe.prediction(recipes[method].stages[stage]),
            tmp_path / stage,
            threads=1,
            bfloat16_on_cpu=False,
        )
    settings = recipe.merging(recipes, method)
    stages = {stage: [tmp_path / stage] for stage in settings.stages}
    with caplog.at_level(logging.WARNING):
        merge(cases, stages, settings, tmp_path / "merged")
    assert f"{cases[0].name}: nothing was found: its segmentation is empty" in caplog.text
    segmentation = nib.load(tmp_path / f"merged/{cases[0].name}.nii.gz")
    assert segmentation.shape == nib.load(cases[0].image).shape
    assert not np.asanyarray(segmentation.dataobj).any()


# -- pretrained weights --------------------------------------------------------------------------

WEIGHTS = "weights/resnet34.pth"
FINE_MODEL = "results/damnet/fine/fold0/model.safetensors"


@pytest.fixture
def pretrained(tmp_path) -> Project:
    """DAM-Net on four tiny cases, with weights from an address that nobody answers."""
    write_phantom(tmp_path / "data", labelled=4, unlabelled=0, size=64)
    training = {
        "sampler": {"size": [8, 32, 32], "per_case": 1},
        "network": {
            "pretrained": {"file": WEIGHTS, "url": "https://127.0.0.1:9/x.pth", "sha256": "0" * 64}
        },
        # Too little for a weight to change.
        "optimizer": {"learning_rate": 1.0e-12},
        "epochs": 1,
    }
    stages = {
        "coarse": {"components": {"minimum_voxels": 100}},
        "fine": {"geometry": {"spacing": [8, 6, 6]}, "training": training},
    }
    configuration = {
        "data": {"root": "data"},
        "methods": ["damnet"],
        "folds": {"count": 2},
        "compute": {"prepare_threads": 1, "train_threads": 1},
        "overrides": {"damnet": {"stages": stages}},
    }
    return make_project(tmp_path, configuration)


def error_of(project: Project) -> str:
    """The one line that a run which must fail says about it."""
    run = project.snakemake(FINE_MODEL)
    assert run.returncode == 1
    assert "Traceback" not in run.stdout + run.stderr
    assert not (project.folder / FINE_MODEL).exists()
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_training_begins_with_pretrained_weights(pretrained):
    torch.manual_seed(0)
    state = ResNet34(channels_in=3).state_dict()
    state = {
        name: torch.rand_like(value) if value.is_floating_point() else value
        for name, value in state.items()
    }
    file = pretrained.folder / WEIGHTS
    file.parent.mkdir()
    torch.save(state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, file)
    network = {"pretrained": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}}
    pretrained.configure(
        {"overrides": {"damnet": {"stages": {"fine": {"training": {"network": network}}}}}}
    )
    run = pretrained.snakemake(FINE_MODEL)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "Downloading" not in run.stdout + run.stderr
    trained = load_file(pretrained.folder / FINE_MODEL)
    for name in ("conv1.weight", "layer1.0.conv1.weight", "layer4.2.bn2.bias"):
        assert torch.equal(trained[f"backbone.{name}"], state[name])


def test_without_a_network_the_run_says_which_file_to_put_where(pretrained):
    line = error_of(pretrained)
    assert WEIGHTS in line
    assert "https://127.0.0.1:9/x.pth" in line
    assert "pretrained: false" in line
    assert not (pretrained.folder / WEIGHTS).exists()


def test_file_of_other_weights_is_refused(pretrained):
    file = pretrained.folder / WEIGHTS
    file.parent.mkdir()
    file.write_bytes(b"other weights")
    line = error_of(pretrained)
    assert WEIGHTS in line
    assert hashlib.sha256(b"other weights").hexdigest() in line
    assert "0" * 64 in line
    assert file.read_bytes() == b"other weights"
