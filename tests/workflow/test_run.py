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
from renal.evaluate.merge import merge
from renal.handover.checked import usable
from renal.handover.predictions import native_mask_of, write_probabilities
from renal.handover.prepared import read_images, read_index, write_index
from renal.learn.prediction import predict
from renal.prepare.crop_roi import crop_roi

from .conftest import assert_segmented_in_native_geometry

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
    assert_segmented_in_native_geometry(results(finished) / "resvnet/segmentation", images)


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


def test_all_bad_cases_are_listed_at_once(fresh):
    data = results(fresh) / "data"
    (data / "case_00000/imaging.nii.gz").write_bytes(b"not an image")
    label = nib.load(data / "case_00001/segmentation.nii.gz")
    empty = np.zeros(label.shape, np.uint8)
    nib.save(nib.Nifti1Image(empty, label.affine), data / "case_00001/segmentation.nii.gz")
    run = fresh.snakemake()
    assert run.returncode == 1
    output = run.stdout + run.stderr
    assert "case_00000/imaging.nii.gz" in output
    assert "case_00001/segmentation.nii.gz: empty label" in output
    assert "2 of 5 cases cannot be used" in output
    assert "Traceback" not in output
    # Nothing was learned from the good ones either, though one may have been prepared beside the
    # last check, and nothing half-written is left.
    left = {path.name for path in results(fresh).iterdir()}
    prepared = {"body", "resampled", "normalized", "true_roi"}
    assert left <= {"data", "cases", "folds.csv", "logs", "benchmarks", "report", *prepared}
    assert not list(results(fresh).rglob(".*"))


def test_bad_unlabelled_case_is_named_and_the_others_are_kept(first_run):
    """In a run from nothing."""
    assert first_run.ended.returncode == 1
    assert "case_00005/imaging.nii.gz" in first_run.ended.stderr
    assert "cases that were not segmented: 1" in first_run.ended.stderr
    assert "resvnet/segmentation/case_00004.nii.gz" in first_run.left
    assert "resvnet/segmentation/case_00005.nii.gz" not in first_run.left
    assert "tables/cv.csv" in first_run.left
    assert "segmented/all.txt" not in first_run.left


def test_after_a_bad_case_is_taken_away_the_run_ends_well(small):
    assert (results(small) / "segmented/all.txt").read_text() == "all 5 cases were segmented\n"
    assert small.plan() == {}


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


def test_method_with_bad_unlabelled_cases_alone_ends_with_their_list(ended):
    """A whole batch of bad cases, a method asked for by name: the engineer's first try."""
    (results(ended) / "data/case_00004/imaging.nii.gz").write_bytes(b"not an image")
    # All but preparation and models is made again.
    shutil.rmtree(results(ended) / "segmented")
    for path in ("whole/prediction", "tumour/prediction", "merged", "scores", "segmentation"):
        shutil.rmtree(results(ended) / "resvnet" / path)
    (results(ended) / "resvnet/scores.csv").unlink()
    run = ended.snakemake("resvnet")
    assert run.returncode == 1
    assert "case_00004/imaging.nii.gz" in run.stderr
    assert "cases that were not segmented: 1" in run.stderr
    assert (results(ended) / "resvnet/scores.csv").exists()


def test_data_without_unlabelled_cases_and_with_an_excluded_one(ended):
    shutil.rmtree(results(ended) / "data/case_00004")
    for path in ("segmented", "resvnet/submission", "resvnet/segmentation"):
        shutil.rmtree(results(ended) / path)
    ended.configure({"data": {"exclude": ["case_00003"]}})
    run = ended.snakemake()
    assert run.returncode == 0, run.stderr[-3000:]
    assert (results(ended) / "segmented/all.txt").read_text() == "all 3 cases were segmented\n"
    assert not (results(ended) / "resvnet/submission").exists()


def test_second_run_in_the_same_folder_is_told_so(fresh):
    # In the middle of a step, whose folder is there already.
    end = '    write_json(folder / "cases.json"'
    fresh.edit_code(end, f"    import time\n\n    time.sleep(300)\n{end}")
    first = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "1"],
        cwd=fresh.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(results(fresh).glob("resampled/*/*/*.npy")) and time.monotonic() < deadline:
            time.sleep(0.1)
        second = fresh.snakemake()
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


def test_killed_and_started_again_ends_with_the_same_bytes(small, ended):
    """From the prepared cases on."""
    for path in ("resvnet", "tables", "segmented", "logs"):
        shutil.rmtree(results(ended) / path)
    ended.store_a_state_after_every_epoch()
    command = [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "2"]
    moments = ("tumour/fold*/state.pt", "whole/fold*/state.pt", "whole/prediction/*/*.npz")
    for moment in moments:
        # A session of its own, so that the kill reaches the jobs as well.
        run = subprocess.Popen(
            command,
            cwd=ended.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while not list(results(ended).glob(f"resvnet/{moment}")):
            assert time.monotonic() < deadline, f"{moment} was not seen"
            time.sleep(0.05)
        _kill_session(run)
        assert list(results(ended).glob(f"resvnet/{moment}"))
        subprocess.run([*command, "--unlock"], cwd=ended.folder, check=True, capture_output=True)
    last = ended.snakemake()
    assert last.returncode == 0, last.stderr[-2000:]
    logs = [path.read_text() for path in results(ended).glob("logs/train/*.log")]
    assert any("going on after epoch" in log for log in logs)
    assert checksums(ended) == checksums(small)


def _kill_session(process):
    """Kill snakemake and its jobs, whatever process groups they are in."""
    subprocess.run(["pkill", "-9", "--session", str(process.pid)], check=True)
    process.wait(30)
