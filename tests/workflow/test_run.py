"""Real runs on the phantom: what comes out, what bad input does, and what faults leave behind."""

import csv
import functools
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import zipfile

import nibabel as nib
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from renal import recipe
from renal.data.phantom import write_phantom
from renal.evaluate.merge import merge
from renal.handover.checked import usable
from renal.handover.predictions import native_mask_of, write_probabilities
from renal.handover.prepared import read_images, read_index, write_index
from renal.learn.prediction import predict
from renal.prepare.crop_roi import crop_roi

from .conftest import Project, demo_configuration, make_project

pytestmark = pytest.mark.xdist_group("finished")


def small_configuration() -> dict:
    """Two folds of tiny networks: a whole run takes some 40 seconds."""
    configuration = demo_configuration()
    configuration |= {"folds": {"count": 2}, "batch_size": 4}
    small = {"network": {"width": 2}, "epochs": 2}
    for stage in configuration["overrides"]["resvnet"]["stages"].values():
        stage["training"] |= small
        stage["geometry"] = {"size": [16, 32, 32]}
    return configuration


@pytest.fixture
def small(tmp_path):
    write_phantom(tmp_path / "results/demo/data", labelled=4, unlabelled=1, size=64)
    return make_project(tmp_path, small_configuration())


# -- what comes out -------------------------------------------------------------------------------


def results(project):
    return project.folder / "results/demo"


def test_it_learns(finished):
    table = pd.read_csv(results(finished) / "tables/cv.csv")
    native = table[table["grid"] == "native"].set_index("metric")["mean"]
    assert native["kidney_dice"] >= 0.85
    assert native["tumour_dice"] >= 0.5
    ceiling = table[table["grid"] == "ceiling"].set_index("metric")["mean"]
    assert ceiling["kidney_dice"] > native["kidney_dice"]


def test_every_segmentation_has_its_images_geometry(finished):
    data = results(finished) / "data"
    images = sorted(data.glob("case_*/imaging.nii.gz"))
    assert len(images) == 32
    for path in images:
        image = nib.load(path)
        segmentation = nib.load(
            results(finished) / f"resvnet/segmentation/{path.parent.name}.nii.gz"
        )
        assert segmentation.shape == image.shape
        assert np.array_equal(segmentation.affine, image.affine)
        assert segmentation.get_data_dtype() == np.uint8
        assert set(np.unique(np.asanyarray(segmentation.dataobj))) <= {0, 1, 2}


def test_scores_by_the_official_formula(finished):
    scores = pd.read_csv(results(finished) / "resvnet/scores.csv")
    assert len(scores) == 3 * 30
    assert scores["case"].nunique() == 30
    native = scores[scores["grid"] == "native"]
    for row in native.sample(3, random_state=0).itertuples():
        truth = _labels(results(finished) / f"data/{row.case}/segmentation.nii.gz")
        found = _labels(results(finished) / f"resvnet/segmentation/{row.case}.nii.gz")
        kidney = 2 * ((truth > 0) & (found > 0)).sum() / ((truth > 0).sum() + (found > 0).sum())
        assert row.kidney_dice == pytest.approx(kidney, abs=1e-5)


def _labels(path):
    return np.asanyarray(nib.load(path).dataobj)


def test_held_out_case_was_not_trained_on(finished):
    with (results(finished) / "folds.csv").open() as stream:
        next(stream)
        fold_of = {row["case"]: row["fold"] for row in csv.DictReader(stream)}
    for stage in ("whole", "tumour"):
        for fold in "01234":
            run = json.loads(
                (results(finished) / f"resvnet/{stage}/fold{fold}/run.json").read_text()
            )
            assert run["cases"]
            assert fold not in {fold_of[case] for case in run["cases"]}


def test_submission(finished):
    folder = results(finished) / "resvnet/submission"
    with zipfile.ZipFile(folder / "submission.zip") as archive:
        assert archive.namelist() == ["prediction_00030.nii.gz", "prediction_00031.nii.gz"]
    assert (folder / "prediction_00030.nii.gz").exists()


def test_tables_pictures_and_report(finished):
    folder = results(finished)
    for name in ("cv.csv", "cv.md", "cv.tex", "cv.html"):
        assert (folder / "tables" / name).stat().st_size > 200
    pictures = sorted(path.name for path in (folder / "resvnet/pictures").glob("*.png"))
    assert pictures == [
        "best.png",
        "curves_tumour.png",
        "curves_whole.png",
        "median.png",
        "worst.png",
    ]
    made = finished.snakemake("--report", "report.html")
    assert made.returncode == 0, made.stderr[-2000:]
    report = (finished.folder / "report.html").read_text()
    assert "best.png" in report and "cv.html" in report


def test_step_without_snakemake(finished, tmp_path):
    command = [sys.executable, "-m", "renal", "collect_scores", "--output", tmp_path / "scores.csv"]
    command += ["--scores", *sorted((results(finished) / "resvnet/scores").glob("*.csv"))]
    subprocess.run(command, cwd=finished.folder / "workflow", check=True)
    assert (tmp_path / "scores.csv").read_bytes() == (
        results(finished) / "resvnet/scores.csv"
    ).read_bytes()


# -- bad input ------------------------------------------------------------------------------------


def test_all_bad_cases_are_listed_at_once(small):
    data = results(small) / "data"
    (data / "case_00000/imaging.nii.gz").write_bytes(b"not an image")
    label = nib.load(data / "case_00001/segmentation.nii.gz")
    empty = np.zeros(label.shape, np.uint8)
    nib.save(nib.Nifti1Image(empty, label.affine), data / "case_00001/segmentation.nii.gz")
    run = small.snakemake()
    assert run.returncode == 1
    output = run.stdout + run.stderr
    assert "case_00000/imaging.nii.gz" in output
    assert "case_00001/segmentation.nii.gz: empty label" in output
    assert "2 of 5 cases cannot be used" in output
    assert "Traceback" not in output
    # Nothing was learned from the good ones either, though one may have been prepared beside the
    # last check, and nothing half-written is left.
    left = {path.name for path in results(small).iterdir()}
    prepared = {"body", "resampled", "normalized", "true_roi"}
    assert left <= {"data", "cases", "folds.csv", "logs", "benchmarks", "report", *prepared}
    assert not list(results(small).rglob(".*"))


def test_bad_unlabelled_case_is_named_and_the_others_are_kept(small):
    data = results(small) / "data"
    shutil.copytree(data / "case_00004", data / "case_00005")
    (data / "case_00005/imaging.nii.gz").write_bytes(b"not an image")
    run = small.snakemake()
    assert run.returncode == 1
    assert "case_00005/imaging.nii.gz" in run.stderr
    assert "cases that were not segmented: 1" in run.stderr
    folder = results(small)
    assert (folder / "resvnet/segmentation/case_00004.nii.gz").exists()
    assert not (folder / "resvnet/segmentation/case_00005.nii.gz").exists()
    assert (folder / "tables/cv.csv").exists()
    assert not (folder / "segmented/all.txt").exists()


def test_full_disk_leaves_nothing_half_written(finished, tmp_path):
    """A limit on the size of files fails a write halfway, as a full disk does."""
    record = results(finished) / "cases/fold0-000.json"
    geometry = {"size": [64, 64, 64]}
    command = [sys.executable, "-m", "renal", "resample", "--checked", record]
    command += ["--settings", json.dumps(geometry), "--output", tmp_path / "resampled"]
    limit = (300_000, 300_000)
    run = subprocess.run(
        command,
        cwd=finished.folder,
        env=os.environ | {"PYTHONPATH": str(finished.folder / "workflow")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "resampled" in line and "cannot be written" in line and "free space" in line
    assert not list((tmp_path / "resampled").iterdir())


def test_nothing_found_gives_an_empty_segmentation(finished, tmp_path, monkeypatch):
    """The first stage's prediction is emptied, and the steps after it are run by hand."""
    monkeypatch.chdir(finished.folder)
    record = results(finished) / "cases/fold0-000.json"
    cases = usable([record])[:1]
    batch = next(results(finished).glob("normalized/*/*/fold0-000"))
    prepared = read_index(batch)[cases[0].name]
    whole, tumour = tmp_path / "whole", tmp_path / "tumour"
    empty = np.zeros(read_images(batch, prepared)[0].shape, np.float32)
    write_probabilities(whole, prepared, [empty[None]])
    write_index(whole, [prepared])
    recipes = {"resvnet": recipe.load_method("resvnet", finished_overrides(finished))}
    mask_of = functools.partial(native_mask_of, whole)
    crop = recipe.region_crop(recipes, "resvnet", "tumour")
    without = crop_roi(cases, crop, mask_of, tmp_path / "roi")
    assert without == [cases[0].name]
    models = [results(finished) / "resvnet/tumour/fold0/model.safetensors"]
    settings = recipe.prediction(recipes["resvnet"].stages["tumour"])
    predict([tmp_path / "roi"], models, settings, tumour, threads=1, bfloat16_on_cpu=False)
    predictions = {"whole": [whole], "tumour": [tumour]}
    merge(cases, predictions, recipe.merging(recipes, "resvnet"), tmp_path / "merged")
    segmentation = nib.load(tmp_path / f"merged/{cases[0].name}.nii.gz")
    assert segmentation.shape == nib.load(finished.folder / cases[0].image).shape
    assert not np.asanyarray(segmentation.dataobj).any()


def finished_overrides(project) -> dict:
    return yaml.safe_load((project.folder / "run.yaml").read_text())["overrides"]["resvnet"]


def test_method_with_bad_unlabelled_cases_alone_ends_with_their_list(small):
    """A whole batch of bad cases, a method asked for by name: the engineer's first try."""
    (results(small) / "data/case_00004/imaging.nii.gz").write_bytes(b"not an image")
    run = small.snakemake("resvnet")
    assert run.returncode == 1
    assert "case_00004/imaging.nii.gz" in run.stderr
    assert "cases that were not segmented: 1" in run.stderr
    assert (results(small) / "resvnet/scores.csv").exists()


def test_data_without_unlabelled_cases_and_with_an_excluded_one(small):
    shutil.rmtree(results(small) / "data/case_00004")
    small.configure({"data": {"exclude": ["case_00003"]}})
    run = small.snakemake()
    assert run.returncode == 0, run.stderr[-3000:]
    assert (results(small) / "segmented/all.txt").read_text() == "all 3 cases were segmented\n"
    assert not (results(small) / "resvnet/submission").exists()


def test_second_run_in_the_same_folder_is_told_so(small):
    # In the middle of a step, whose folder is there already.
    steps = small.folder / "workflow/renal/handover/prepared.py"
    text, end = steps.read_text(), '    write_json(folder / "cases.json"'
    assert text.count(end) == 1
    steps.write_text(text.replace(end, f"    import time\n\n    time.sleep(300)\n{end}"))
    first = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "1"],
        cwd=small.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(results(small).glob("resampled/*/*/*.npy")) and time.monotonic() < deadline:
            time.sleep(0.1)
        second = small.snakemake()
    finally:
        for process in [*psutil.Process(first.pid).children(recursive=True), first]:
            process.kill()
        first.wait()
    assert second.returncode == 1
    assert "--unlock" in second.stderr


# -- faults ---------------------------------------------------------------------------------------


def checksums(project) -> dict[str, str]:
    """Of everything that must not depend on how often a run was interrupted."""
    folder = results(project)
    patterns = ("resvnet/*/fold*/model.safetensors", "resvnet/segmentation/*.nii.gz", "tables/cv.*")
    paths = [path for pattern in patterns for path in folder.glob(pattern)]
    assert len(paths) == 4 + 5 + 4
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }


def test_killed_and_started_again_ends_with_the_same_bytes(small, tmp_path_factory):
    # A state after every epoch, and epochs enough for a kill to fall among them.
    loop = small.folder / "workflow/renal/learn/training.py"
    text = loop.read_text()
    assert "SECONDS_BETWEEN_STATES = 60.0" in text
    loop.write_text(text.replace("SECONDS_BETWEEN_STATES = 60.0", "SECONDS_BETWEEN_STATES = 0.0"))
    longer = {"training": {"epochs": 60}}
    small.configure({"overrides": {"resvnet": {"stages": {"whole": longer, "tumour": longer}}}})
    twin = Project(tmp_path_factory.mktemp("twin"))
    shutil.copytree(small.folder, twin.folder, dirs_exist_ok=True)
    undisturbed = small.snakemake()
    assert undisturbed.returncode == 0, undisturbed.stderr[-2000:]

    command = [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "2"]
    moments = ("tumour/fold*/state.pt", "whole/fold*/state.pt", "whole/prediction/*/*.npz")
    for moment in moments:
        # A session of its own, so that the kill reaches the jobs as well.
        run = subprocess.Popen(
            command,
            cwd=twin.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while not list(results(twin).glob(f"resvnet/{moment}")):
            assert time.monotonic() < deadline, f"{moment} was not seen"
            time.sleep(0.05)
        _kill_session(run)
        assert list(results(twin).glob(f"resvnet/{moment}"))
        subprocess.run([*command, "--unlock"], cwd=twin.folder, check=True, capture_output=True)
    finished = twin.snakemake()
    assert finished.returncode == 0, finished.stderr[-2000:]
    logs = [path.read_text() for path in results(twin).glob("logs/train/*.log")]
    assert any("going on after epoch" in log for log in logs)
    assert checksums(twin) == checksums(small)


def _kill_session(process):
    """Kill snakemake and its jobs, whatever process groups they are in."""
    subprocess.run(["pkill", "-9", "--session", str(process.pid)], check=True)
    process.wait(30)
