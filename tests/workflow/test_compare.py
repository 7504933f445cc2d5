"""Rows of other rows and of another program beside one of ours, and their comparison."""

import csv
import os
import shutil

import nibabel as nib
import numpy as np
import pytest

from .conftest import Project, assert_segmented_in_native_geometry, results

ROWS = ["resvnet", "totalsegmentator", "ensemble_average", "ensemble_vote"]


def turned(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """The same voxels in the order that most programs write, as decimals."""
    again = nib.as_closest_canonical(image)
    return nib.Nifti1Image(again.get_fdata(dtype=np.float32), again.affine)


@pytest.fixture(scope="module")
def compared(small, tmp_path_factory) -> Project:
    """The small project with three rows more; another program found the left kidney alone."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(small.folder, folder, dirs_exist_ok=True)
    project = Project(folder)
    data = results(project) / "data"
    for path in sorted(data.glob("*/imaging.nii.gz")):
        case = path.parent.name
        label = path.with_name("segmentation.nii.gz")
        image = nib.load(label if label.exists() else path)
        values = (np.asanyarray(image.dataobj) > 0) * 2 if label.exists() else np.zeros(image.shape)
        values = np.where(values == 2, 2, 51).astype(np.float32)  # 51 is none of our business
        (folder / "other").mkdir(exist_ok=True)
        written = nib.Nifti1Image(values, image.affine)
        nib.save(turned(written), folder / f"other/{case}.nii.gz")
    project.configure(
        {
            "methods": ROWS,
            "overrides": {
                "totalsegmentator": {"external": {"folder": "other", "trained_on_these": True}},
                "ensemble_average": {"average": {"of": ["resvnet", "resvnet"], "weights": [1, 3]}},
                "ensemble_vote": {"vote": {"of": ["resvnet", "totalsegmentator"], "by": "staple"}},
            },
        }
    )
    run = project.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return project


def rows_of(project: Project, table: str) -> list[dict[str, str]]:
    with (results(project) / "tables" / table).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_nothing_is_trained_for_them_and_nothing_runs_twice(compared):
    assert compared.plan() == {}
    stages = {path.parent.parent.name for path in results(compared).glob("*/*/fold0/history.csv")}
    assert stages == {"whole", "tumour"}


def test_every_row_segments_every_case(compared):
    images = sorted((results(compared) / "data").glob("*/imaging.nii.gz"))
    for row in ROWS:
        assert_segmented_in_native_geometry(results(compared) / row / "segmentation", images)


def test_another_program_is_scored_where_it_looks(compared):
    scores = list(csv.DictReader((results(compared) / "totalsegmentator/scores.csv").open()))
    assert {row["grid"] for row in scores} == {"native"}
    assert {row["kidney_dice"] for row in scores} == {"1.0"}
    assert {row["tumour_dice"] + row["composite"] for row in scores} == {""}
    table = (results(compared) / "tables/cv.md").read_text()
    assert "whose models were trained on these cases: totalsegmentator" in table


def test_the_mean_of_a_row_with_itself_is_that_row(compared):
    one, mean = (
        {
            row["case"]: row["tumour_dice"]
            for row in csv.DictReader((results(compared) / name / "scores.csv").open())
            if row["grid"] == "native"
        }
        for name in ("resvnet", "ensemble_average")
    )
    assert one == mean


def test_rows_are_compared_on_the_cases_that_they_share(compared):
    pairs = rows_of(compared, "compare.csv")
    kidney = [(pair["first"], pair["second"]) for pair in pairs if pair["metric"] == "kidney_dice"]
    assert len(kidney) == 6
    tumour = {pair["first"] for pair in pairs if pair["metric"] == "tumour_dice"}
    assert "totalsegmentator" not in tumour
    dependent = {(pair["first"], pair["second"]) for pair in pairs if pair["dependent"] == "True"}
    assert ("resvnet", "totalsegmentator") not in dependent
    assert ("resvnet", "ensemble_average") in dependent
    assert ("totalsegmentator", "ensemble_vote") in dependent
    assert len(rows_of(compared, "compare_cases.csv")[0]) == 4
    drawn = {path.suffix for path in (results(compared) / "tables").glob("compare_blobs.*")}
    assert drawn == {".png", ".svg"}
    page = (results(compared) / "report/index.html").read_text()
    assert all(f"({row})" in page for row in ROWS)
    assert "# Comparison" in (results(compared) / "tables/compare.md").read_text()


def test_other_content_of_another_program_is_noticed_whatever_its_age(compared):
    """As cp -p, rsync -a and unzip leave it."""
    first, second = (compared.folder / f"other/case_0000{number}.nii.gz" for number in (0, 1))
    content, status = first.read_bytes(), first.stat()
    first.write_bytes(second.read_bytes())
    os.utime(first, ns=(0, 0))
    try:
        plan = compared.plan()
    finally:
        first.write_bytes(content)
        os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert plan["import_segmentations"] == 1 and "train" not in plan


def test_a_case_that_another_program_left_out_is_told_before_anything_is_trained(
    compared, tmp_path
):
    shutil.copytree(compared.folder, tmp_path, dirs_exist_ok=True)
    project = Project(tmp_path)
    (tmp_path / "other/case_00001.nii.gz").unlink()
    tables = "results/demo/tables/cv.md"
    run = project.snakemake(tables)
    assert run.returncode == 1
    assert "other: 1 of 2 cases (case_00001) have no file" in run.stdout + run.stderr
    project.configure({"overrides": {"totalsegmentator": {"external": {"missing": "empty"}}}})
    run = project.snakemake(tables)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    table = (project.folder / tables).read_text()
    assert "scored as empty: totalsegmentator 1" in table
