"""What Snakemake plans: every job of a method is counted, and a change plans what it concerns."""

import json
import re
import shutil
import subprocess
import sys

import pytest

# 12 labelled cases in five folds and batches of 2: folds of 3 or 2 cases, so 7 batches; 3
# unlabelled cases in 2 batches. Groups for prediction: 5 folds and 2 unlabelled batches.
FULL_PLAN = {
    "validate": 9,
    "check_cases": 1,
    "crop_body": 9,
    "resample": 9,
    "window_normalize": 9,
    "crop_true_roi": 7,
    "train": 10,
    "predict": 14,
    "crop_roi": 7,
    "merge": 7,
    "evaluate": 5,
    "collect_scores": 1,
    "collect_segmentations": 1,
    "write_submission": 1,
    "write_tables": 1,
    "draw_overlays": 1,
    "draw_curves": 2,
    "check_segmented": 1,
}


def test_full_plan(sketch):
    assert sketch.plan() == FULL_PLAN


def test_batches_of_one_case(sketch):
    sketch.configure({"batch_size": 1})
    plan = sketch.plan()
    assert plan["resample"] == 15
    assert plan["crop_true_roi"] == 12


@pytest.mark.parametrize("folds", [[3], range(5)], ids=["one", "all"])
def test_models_by_name(sketch, folds):
    targets = [f"results/resvnet/tumour/fold{fold}/model.safetensors" for fold in folds]
    planned = sketch.planned(*targets)
    # The second stage learns from true regions, so it does not wait for the first.
    assert planned.jobs.keys() == {"validate", "crop_true_roi", "train"}
    assert planned.trainings == {("resvnet", "tumour", fold) for fold in folds}


def test_method_by_name(sketch):
    plan = sketch.plan("resvnet")
    assert plan["train"] == 10
    assert "write_tables" not in plan


def test_methods_share_what_is_the_same(sketch):
    variant = "extends: resvnet\nstages: {tumour: {training: {epochs: 7}}}\n"
    (sketch.folder / "workflow/methods/variant.yaml").write_text(variant)
    sketch.configure({"methods": ["resvnet", "variant"]})
    plan = sketch.plan()
    shared = ("validate", "crop_body", "resample", "window_normalize", "crop_true_roi")
    assert {rule: plan[rule] for rule in shared} == {rule: FULL_PLAN[rule] for rule in shared}
    assert plan["train"] == 2 * FULL_PLAN["train"]


def test_catalog_entry_point(sketch):
    assert sketch.plan("--snakefile", "workflow/Snakefile") == FULL_PLAN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"root": "nowhere"}}, ["nowhere", "KiTS19", "make demo"]),
        ({"folds": {"count": 13}}, ["folds.count", "12"]),
        ({"methods": ["unet"]}, ["unet", "resvnet"]),
        ({"compute": {"threads": 3}}, ["compute.threads", "unknown key"]),
        (
            {"overrides": {"resvnet": {"stages": {"whole": {"geometry": {"size": [9, 8, 8]}}}}}},
            ["overrides.resvnet", "geometry.size", "multiples of 16"],
        ),
        (
            {"overrides": {"resvnet": {"stages": {"whole": {"training": {"epochs": "many"}}}}}},
            ["overrides.resvnet", "stages.whole.training.epochs"],
        ),
    ],
)
def test_bad_configuration_is_one_line(sketch, changes, words):
    sketch.configure(changes)
    run = sketch.snakemake()
    assert run.returncode == 1
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert all(word in line for word in words), line
    assert "Traceback" not in run.stderr
    assert not (sketch.folder / "results").exists()


def test_without_data_says_where_it_goes(sketch):
    shutil.rmtree(sketch.folder / "data")
    command = [sys.executable, "-m", "snakemake", "--cores", "8"]
    run = subprocess.run(command, cwd=sketch.folder, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "data/kits19" in run.stderr
    assert "make demo" in run.stderr
    # Snakemake says first that it reads profiles/default.
    profile, _ = run.stderr.strip().splitlines()
    assert profile.startswith("Using workflow specific profile")


def test_lint(sketch):
    run = sketch.snakemake("--lint")
    assert run.returncode == 0, run.stdout + run.stderr


# -- after a finished run ------------------------------------------------------------------------

AFTER_PREDICTION = {
    "merge": 6,
    "evaluate": 5,
    "collect_scores": 1,
    "collect_segmentations": 1,
    "write_submission": 1,
    "write_tables": 1,
    "draw_overlays": 1,
    "check_segmented": 1,
}


def test_nothing_changed_plans_nothing(finished):
    assert finished.plan() == {}


def test_higher_limit_plans_nothing(finished, restored):
    restored("run.yaml", None)
    finished.configure({"data": {"maximum_voxels": 700_000_000}})
    assert finished.plan() == {}


def test_mended_kits_json_checks_its_batch(finished, restored):
    listed = finished.folder / "results/demo/data/kits.json"
    cases = json.loads(listed.read_text())
    cases[0]["voxel_spacing"]["z_spacing"] += 0.5
    restored("results/demo/data/kits.json", json.dumps(cases))
    assert finished.plan()["validate"] == 1


def test_learning_rate_of_stage_2(finished, restored):
    restored("run.yaml", None)
    changes = {"training": {"optimizer": {"learning_rate": 0.002}}}
    finished.configure({"overrides": {"resvnet": {"stages": {"tumour": changes}}}})
    assert finished.plan() == {"train": 5, "predict": 6, "draw_curves": 1, **AFTER_PREDICTION}


def test_window_of_stage_1(finished, restored):
    restored("run.yaml", None)
    changes = {"intensity": {"window": [-100, 200]}}
    finished.configure({"overrides": {"resvnet": {"stages": {"whole": changes}}}})
    assert finished.plan() == {
        "window_normalize": 6,
        "train": 5,
        "predict": 12,
        "crop_roi": 6,
        "draw_curves": 1,
        **AFTER_PREDICTION,
    }


def test_component_rule_of_stage_1(finished, restored):
    restored("run.yaml", None)
    changes = {"components": {"minimum_voxels": 50}}
    finished.configure({"overrides": {"resvnet": {"stages": {"whole": changes}}}})
    plan = finished.plan()
    # True regions are cut with the same rule, so the second stage is trained again.
    assert plan["train"] == 5
    assert "resample" not in plan


@pytest.mark.parametrize(
    ("module", "rules", "untouched"),
    [
        ("evaluate/metrics", {"evaluate", "write_tables"}, {"merge", "train", "resample"}),
        ("learn/networks/res_vnet_cascade", {"train", "predict"}, {"resample", "crop_true_roi"}),
        ("learn/training", {"train"}, {"resample", "validate", "crop_true_roi"}),
        ("learn/losses/dice", {"train"}, {"resample", "crop_true_roi"}),
        ("learn/augmentations/in_plane", {"train"}, {"resample", "crop_true_roi"}),
        ("prepare/intensity", {"window_normalize", "crop_true_roi"}, {"validate", "resample"}),
        ("report/tables", {"write_tables"}, {"evaluate", "draw_curves"}),
        ("recipe/parts", set(), set()),
        ("learn/losses/settings", set(), set()),
        ("learn/networks/__init__", {"train", "predict"}, {"resample"}),
    ],
)
def test_changed_module_runs_the_steps_that_use_it(finished, restored, module, rules, untouched):
    path = f"workflow/renal/{module}.py"
    restored(path, (finished.folder / path).read_text() + "\n# changed\n")
    plan = finished.plan()
    assert rules <= plan.keys()
    assert not untouched & plan.keys()
    assert bool(plan) == bool(rules)


def test_changed_listing_of_cases_hides_no_other_change(finished, restored):
    """Jobs that merely come after a repeated one are planned for what has changed about them."""
    for module in ("data/listing", "prepare/intensity"):
        path = f"workflow/renal/{module}.py"
        restored(path, (finished.folder / path).read_text() + "\n# changed\n")
    assert {"check_cases", "window_normalize", "train"} <= finished.plan().keys()


def test_added_component_runs_nothing(finished, restored):
    restored("workflow/renal/learn/losses/another.py", "# a loss that no recipe here uses\n")
    assert finished.plan() == {}


def test_added_case_concerns_its_batch(finished):
    data = finished.folder / "results/demo/data"
    shutil.copytree(data / "case_00000", data / "case_90000")
    try:
        plan = finished.plan()
    finally:
        shutil.rmtree(data / "case_90000")
    prepared = ("validate", "crop_body", "resample", "window_normalize", "crop_true_roi")
    assert {plan[rule] for rule in prepared} == {1}
    # One fold holds the case out, the other four learn from it, in both stages.
    assert plan["train"] == 8
    assert plan["evaluate"] == 5


def test_added_unlabelled_case_trains_nothing(finished):
    data = finished.folder / "results/demo/data"
    shutil.copytree(data / "case_00030", data / "case_90000")
    try:
        plan = finished.plan()
    finally:
        shutil.rmtree(data / "case_90000")
    assert "train" not in plan
    assert "evaluate" not in plan
    assert plan["predict"] == 2
    assert plan["merge"] == 1


def test_excluded_case_concerns_its_batch(finished, restored):
    restored("run.yaml", None)
    finished.configure({"data": {"exclude": ["case_00003"]}})
    plan = finished.plan()
    assert plan["validate"] == 1
    assert plan["resample"] == 1
    assert plan["train"] == 8


def test_forced_rule(finished):
    plan = finished.plan("--forcerun", "evaluate")
    assert plan["evaluate"] == 5
    assert "merge" not in plan
    assert not re.search("train|predict", " ".join(plan))
