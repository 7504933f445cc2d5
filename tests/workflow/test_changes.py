"""What a change plans after a finished run: what it concerns, and nothing else."""

import json
import re
import shutil

import pytest

# Two folds of a batch each, and a batch of unlabelled cases.
AFTER_PREDICTION = {
    "merge": 3,
    "evaluate": 2,
    "collect_scores": 1,
    "collect_segmentations": 1,
    "write_submission": 1,
    "write_tables": 1,
    "draw_overlays": 1,
    "write_page": 1,
    "check_segmented": 1,
}


def test_nothing_changed_plans_nothing(finished):
    assert finished.plan() == {}


def test_higher_limit_plans_nothing(finished, restored):
    restored("run.yaml", None)
    finished.configure({"data": {"maximum_voxels": 700_000_000}})
    assert finished.plan() == {}


def test_mended_kits_json_lists_the_cases_again(finished, restored):
    listed = finished.folder / "results/demo/data/kits.json"
    cases = json.loads(listed.read_text())
    cases[0]["voxel_spacing"]["z_spacing"] += 0.5
    restored("results/demo/data/kits.json", json.dumps(cases))
    assert finished.plan() == {"list_cases": 1, "check_cases": 1, "check_segmented": 1}


def test_learning_rate_of_stage_2(finished, restored):
    restored("run.yaml", None)
    changes = {"training": {"optimizer": {"learning_rate": 0.002}}}
    finished.configure({"overrides": {"resvnet": {"stages": {"tumour": changes}}}})
    assert finished.plan() == {"train": 2, "predict": 3, "draw_curves": 1, **AFTER_PREDICTION}


def test_window_of_stage_1(finished, restored):
    restored("run.yaml", None)
    changes = {"intensity": {"window": [-100, 200]}}
    finished.configure({"overrides": {"resvnet": {"stages": {"whole": changes}}}})
    assert finished.plan() == {
        "window_normalize": 3,
        "train": 2,
        "predict": 6,
        "crop_roi": 3,
        "draw_curves": 1,
        **AFTER_PREDICTION,
    }


def test_component_rule_of_stage_1(finished, restored):
    restored("run.yaml", None)
    changes = {"components": {"minimum_voxels": 50}}
    finished.configure({"overrides": {"resvnet": {"stages": {"whole": changes}}}})
    plan = finished.plan()
    # True regions are cut with the same rule, so the second stage is trained again.
    assert plan["train"] == 2
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
    # One fold holds the case out, the other learns from it, in both stages.
    assert plan["train"] == 2
    assert plan["evaluate"] == 2


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
    assert plan["train"] == 2


def test_forced_rule(finished):
    plan = finished.plan("--forcerun", "evaluate")
    assert plan["evaluate"] == 2
    assert "merge" not in plan
    assert not re.search("train|predict", " ".join(plan))
