"""The demo, run to its end: what comes out, and its steps by themselves."""

import csv
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import ndimage

from renal import recipe
from renal.evaluate.merge import merge
from renal.handover.case_files import usable_with_files
from renal.handover.predictions import native_mask_of, write_probabilities
from renal.handover.prepared import read_images, read_index, write_index
from renal.learn.prediction import predict
from renal.prepare.crop_roi import crop_roi

from .conftest import (
    Project,
    assert_segmented_in_native_geometry,
    demo_configuration,
    make_project,
    results,
)

# -- what comes out -------------------------------------------------------------------------------


def assert_learned(project: Project, *, kidney: float, tumour: float) -> None:
    table = pd.read_csv(results(project) / "tables/cv.csv")
    native = table[table["grid"] == "native"].set_index("metric")["mean"]
    assert native["kidney_dice"] >= kidney
    assert native["tumour_dice"] >= tumour
    ceiling = table[table["grid"] == "ceiling"].set_index("metric")["mean"]
    assert ceiling["kidney_dice"] > native["kidney_dice"]


def test_the_first_twenty_cases_hold_each_rare_kind(demo_data):
    labels = [_labels(path) for path in sorted(demo_data.glob("case_*/segmentation.nii.gz"))[:20]]
    assert len(labels) == 20
    assert {0, 1, 2} <= {_parts(label == 2) for label in labels}
    assert {1, 2} <= {_parts(label > 0) for label in labels}


def _parts(mask):
    return ndimage.label(mask, np.ones((3, 3, 3)))[1]


def test_it_learns(finished):
    assert_learned(finished, kidney=0.85, tumour=0.4)


@pytest.mark.slow
def test_it_learns_as_make_demo_runs_it(demo_data, tmp_path):
    """From more cases, as there are more folds."""
    project = make_project(tmp_path, demo_configuration())
    shutil.copytree(demo_data, results(project) / "data")
    run = project.snakemake("--cores", "2")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert_learned(project, kidney=0.85, tumour=0.5)


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
        for fold in "01":
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


# -- the steps by themselves ----------------------------------------------------------------------


def test_full_disk_leaves_nothing_half_written(finished, tmp_path):
    """A limit on the size of files fails a write halfway, as a full disk does."""
    record = results(finished) / "cases/fold0-000.json"
    geometry = {"size": [64, 64, 64]}
    command = [sys.executable, "-m", "renal", "resample"]
    command += ["--files", results(finished) / "files.json", "--checked", record]
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
    cases = usable_with_files([record], results(finished) / "files.json")[:1]
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
