"""What Snakemake plans: every job of a method is counted."""

import re
import shutil
import subprocess
import sys

import pytest

# 12 labelled cases in five folds and batches of 2: folds of 3 or 2 cases, so 7 batches; 3
# unlabelled cases in 2 batches. Groups for prediction: 5 folds and 2 unlabelled batches.
FULL_PLAN = {
    "validate": 9,
    "list_cases": 1,
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
    "write_page": 1,
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


def test_no_test_case_reaches_a_training(sketch):
    """In all that Snakemake would make for the models, no test case's file and no batch of them."""
    methods = ["resvnet", "mrbnet", "damnet", "msvnet", "tunet_ensemble_post", "nnunet"]
    sketch.configure({"data": {"test": ["2-4"]}, "methods": methods})
    of_tests = re.compile(r"\btest-\d{3}\b|case_0000[2-4]")
    everything = sketch.planned("--printshellcmds")
    assert set(of_tests.findall(everything.text)) == {
        "test-000",
        "test-001",
        *(f"case_0000{number}" for number in (2, 3, 4)),
    }
    assert everything.jobs["collect_test_scores"] == everything.jobs["collect_scores"]
    models = [f"results/{m}/{s}/fold{k}/model.safetensors" for m, s, k in everything.trainings]
    models += [f"results/nnunet/nnunet/fold{fold}/model.safetensors" for fold in range(5)]
    learned = sketch.planned("--printshellcmds", *models)
    assert learned.trainings == everything.trainings
    assert learned.jobs["train_nnunet"] == 5
    assert learned.jobs["validate"] == 5  # nine cases in batches of two of one fold
    assert not of_tests.findall(learned.text)


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


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (
            "run.yaml",
            b"batch_size: 2\nbatch_size: 3\n",
            "'batch_size' is said twice, in lines 1 and 2",
        ),
        ("config.yaml", b"results: a\nresults: b\n", "'results' is said twice, in lines 1 and 2"),
        ("config.yaml", b"results: \xff\n", "not valid YAML"),
        ("config.yaml", b"results: &a [*a]\n", "its aliases stand for more than"),
        ("config.yaml", b"", "a mapping of keys is expected"),
        ("config.yaml", None, "cannot be read (No such file"),
    ],
)
def test_a_damaged_configuration_is_one_line(sketch, file, content, words):
    path = sketch.folder / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    run = sketch.snakemake("--dry-run")
    assert run.returncode == 1
    assert f"error: {path}: {words}" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_key_that_a_profile_says_twice_is_one_line(sketch):
    profile = sketch.folder / "profiles/default/profile.yaml"
    profile.write_text("retries: 1\nretries: 2\n")
    run = sketch.snakemake("--dry-run")
    assert run.returncode == 1
    assert "profiles/default/profile.yaml: 'retries' is said twice, in lines 1 and 2" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_submission_goes_with_the_last_case_without_a_label(sketch):
    submission = sketch.folder / "results/resvnet/submission"
    submission.mkdir(parents=True)
    (submission / "submission.zip").touch()
    assert sketch.snakemake("--until", "validate").returncode == 0
    assert submission.exists()
    for number in range(12, 15):
        (sketch.folder / f"data/case_{number:05d}/segmentation.nii.gz").touch()
    sketch.planned()
    assert submission.exists()
    assert sketch.snakemake("--until", "validate").returncode == 0
    assert not submission.exists()


def test_scores_of_tests_go_with_the_last_test(sketch):
    sketch.configure({"data": {"test": ["case_00000"]}})
    results = sketch.folder / "results"
    left = [results / "resvnet/test_scores.csv"]
    left += [results / "tables" / name for name in ("test.csv", "test.md", "test.html")]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert sketch.snakemake("--until", "validate").returncode == 0
    assert all(path.exists() for path in left)
    sketch.configure({"data": {"test": []}})
    sketch.planned()
    assert all(path.exists() for path in left)
    assert sketch.snakemake("--until", "validate").returncode == 0
    assert not any(path.exists() for path in left)


def test_the_comparison_goes_with_the_last_row_but_one(sketch):
    sketch.configure({"methods": ["resvnet", "mrbnet"]})
    tables = sketch.folder / "results/tables"
    tables.mkdir(parents=True)
    left = [tables / name for name in ("compare.md", "compare_rows.csv", "compare_worst.svg")]
    for path in left:
        path.touch()
    assert sketch.snakemake("--until", "validate").returncode == 0
    assert all(path.exists() for path in left)
    sketch.configure({"methods": ["resvnet"]})
    sketch.planned()
    assert all(path.exists() for path in left)
    assert sketch.snakemake("--until", "validate").returncode == 0
    assert not any(path.exists() for path in left)


def test_folds_that_cannot_be_stored_are_one_line(sketch):
    """As when a disk fills up after the plan was made."""
    sketch.edit_code(
        'text.write(f"# folds={folds} seed={seed} cases={len(rows)}\\n")',
        "raise InputError('full')",
    )
    run = sketch.snakemake("--until", "validate")
    assert run.returncode == 1
    assert "error: full" in run.stderr and "Traceback" not in run.stderr


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
