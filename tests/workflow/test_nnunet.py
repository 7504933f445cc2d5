"""Rows of nnU-Net: what is planned for them, and, where nnU-Net is installed, a run of one."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from renal.data.phantom import write_phantom
from renal.handover.seals import write_seal
from renal.recipe import merged

from .conftest import (
    RUN,
    Project,
    assert_segmented_in_native_geometry,
    make_project,
    results,
    small_configuration,
)
from .test_plan import FULL_PLAN

# In place of what our own rows' stages plan.
OWN = ("crop_body", "resample", "window_normalize", "crop_true_roi", "train", "predict", "crop_roi")
BY_NNUNET = {
    "write_nnunet_dataset": 1,
    "plan_nnunet": 1,
    "preprocess_nnunet": 1,
    "train_nnunet": 5,
    "predict_nnunet": 7,
    "import_segmentations": 7,
}


@pytest.fixture
def planned(sketch) -> Project:
    sketch.configure({"methods": ["nnunet"]})
    return sketch


def test_full_plan(planned):
    left = {rule: n for rule, n in FULL_PLAN.items() if rule not in (*OWN, "merge")}
    assert planned.plan() == left | BY_NNUNET | {"draw_curves": 1}


def test_rows_that_are_planned_alike_share_data_set_plans_and_cases(planned):
    """Epochs are no part of plans; regions and planners are."""
    variant = "extends: nnunet\nnnunet: {training: {epochs: 100}}\n"
    (planned.folder / "workflow/methods/variant.yaml").write_text(variant)
    planned.configure({"methods": ["resvnet", "nnunet", "variant", "nnunet_resenc_l"]})
    plan = planned.plan()
    counts = {rule: plan[rule] for rule in BY_NNUNET}
    shared = {"write_nnunet_dataset": 2, "plan_nnunet": 2, "preprocess_nnunet": 2}
    assert counts == {rule: 3 * count for rule, count in BY_NNUNET.items()} | shared
    assert {rule: plan[rule] for rule in (*OWN, "merge")} == {
        rule: FULL_PLAN[rule] for rule in (*OWN, "merge")
    }


def test_without_its_environment_a_row_says_how_to_make_it(sketch):
    """Here by the step itself; everything before it needs nothing of nnU-Net."""
    (sketch.folder / "raw").mkdir()
    (sketch.folder / "raw/dataset.json").write_text('{"dataset": {}}')
    (sketch.folder / "files.json").write_text("{}")
    for path in ("raw", "files.json"):
        write_seal(sketch.folder / path)
    settings = '{"planner": "ExperimentPlanner", "configuration": "2d"}'
    command = ["plan_nnunet", "--files", "files.json", "--dataset", "raw", "--settings", settings]
    place = ["--python", ".venv-nnunet/bin/python", "--output", "planned"]
    run = subprocess.run(
        [sys.executable, "-m", "renal", *command, *place],
        cwd=sketch.folder,
        env=os.environ | {"PYTHONPATH": str(sketch.folder / "workflow")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert ".venv-nnunet/bin/python: no environment with nnU-Net" in run.stderr
    assert len(run.stderr.splitlines()) == 1


# -- with nnU-Net --------------------------------------------------------------------------------

# A network so small that an epoch takes seconds on a CPU.
SMALL = {
    "patch_size": [32, 48, 48],
    "architecture": {
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [8, 16, 32],
            "kernel_sizes": [[3, 3, 3]] * 3,
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "n_conv_per_stage": [2, 2, 2],
            "n_conv_per_stage_decoder": [2, 2],
        }
    },
}


def small_row(epochs: int, iterations: int) -> dict:
    """The configuration of a row of nnU-Net that trains a fold in a minute or so."""
    python = os.environ.get("RENAL_NNUNET_PYTHON")
    if not python:
        pytest.skip("RENAL_NNUNET_PYTHON names no Python with nnU-Net (`make nnunet` makes one)")
    training = {"epochs": epochs, "iterations": iterations, "mirroring": False}
    row = {"nnunet": {"planning": {"changes": SMALL}, "training": training}}
    python = str(Path(python).absolute())
    return {"nnunet": {"python": python}, "overrides": {"nnunet": row}}


@pytest.fixture(scope="module")
def with_nnunet(tmp_path_factory) -> Project:
    """Six labelled cases and an unlabelled one, one of our rows and one of nnU-Net's."""
    row = small_row(epochs=6, iterations=120)
    folder = tmp_path_factory.mktemp("nnunet")
    write_phantom(folder / "results/demo/data", labelled=6, unlabelled=1, size=64)
    configuration = {
        "methods": ["resvnet", "nnunet"],
        "compute": {"prepare_threads": 1, "train_threads": 2, "predict_threads": 1},
    }
    return make_project(folder, merged(small_configuration(), configuration | row))


def driver_of(project: Project) -> int | None:
    """The process of nnU-Net that works for a project."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"training.train" in words and (path / "cwd").resolve() == project.folder.resolve():
                return int(path.name)
        except OSError:  # it has ended
            continue
    return None


@pytest.fixture(scope="module")
def killed(with_nnunet) -> str:
    """What a run said whose first training was killed after the first epoch or a later one."""
    model = results(with_nnunet) / "nnunet/nnunet/fold0/model.safetensors"
    target = str(model.relative_to(with_nnunet.folder))
    command = [sys.executable, "-m", "snakemake", *RUN, target]
    run = subprocess.Popen(
        command, cwd=with_nnunet.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    pattern = "nnunet/nnunet/Dataset*/*/fold_0/checkpoint_latest.pth"
    while not list(results(with_nnunet).glob(pattern)):
        assert run.poll() is None, run.stdout.read()[-3000:]
        time.sleep(0.2)
    os.kill(driver_of(with_nnunet), signal.SIGKILL)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert not model.exists()
    return said


@pytest.fixture(scope="module")
def compared(with_nnunet, killed) -> Project:
    run = with_nnunet.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return with_nnunet


@pytest.mark.slow
def test_a_training_goes_on_after_a_kill(compared, killed):
    assert "nnU-Net ended with an error" in killed and "it was killed" in killed
    log = (results(compared) / "logs/train/nnunet-nnunet-fold0.log").read_text()
    assert log.count("nnunet fold 0: going on after epoch") == 1
    history = (results(compared) / "nnunet/nnunet/fold0/history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", *"123456"]


@pytest.mark.slow
def test_its_row_stands_beside_ours_in_every_table(compared):
    images = sorted((results(compared) / "data").glob("*/imaging.nii.gz"))
    assert_segmented_in_native_geometry(results(compared) / "nnunet/segmentation", images)
    tables = results(compared) / "tables"
    with (tables / "cv.csv").open(newline="") as stream:
        assert {row["method"] for row in csv.DictReader(stream)} == {"resvnet", "nnunet"}
    with (tables / "compare.csv").open(newline="") as stream:
        pairs = {(row["first"], row["second"]) for row in csv.DictReader(stream)}
    assert pairs == {("resvnet", "nnunet")}
    assert "nnU-Net's plans for nnunet follow" in (tables / "cv.md").read_text()
    assert "(nnunet)" in (results(compared) / "report/index.html").read_text()
    assert (results(compared) / "nnunet/pictures/curves_nnunet.png").exists()


@pytest.mark.slow
def test_it_learns(compared):
    """To find kidneys; tumours need more than 720 updates."""
    with (results(compared) / "nnunet/scores.csv").open(newline="") as stream:
        dice = [float(row["kidney_dice"]) for row in csv.DictReader(stream)]
    assert len(dice) == 6
    assert sum(dice) / len(dice) > 0.5


@pytest.mark.slow
def test_nothing_runs_twice(compared):
    assert compared.plan() == {}


@pytest.mark.slow
def test_regions_are_learned_too(compared):
    training = {"epochs": 1, "iterations": 2, "mirroring": False}
    row = {"nnunet": {"planning": {"changes": SMALL}, "training": training}}
    methods = ["resvnet", "nnunet", "nnunet_regions"]
    compared.configure({"methods": methods, "overrides": {"nnunet_regions": row}})
    run = compared.snakemake("results/demo/nnunet_regions/merged/fold0")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert len(list((results(compared) / "nnunet_regions/merged/fold0").glob("*.nii.gz"))) == 3
