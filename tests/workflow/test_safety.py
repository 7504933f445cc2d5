"""Hostile names: what the user's folders and files are called never reaches a shell unquoted."""

import shutil

import yaml

from renal.data.phantom import write_phantom

from .conftest import make_project

HOSTILE = """it's $(touch mark1) `touch mark2` "x"; touch mark3 & touch mark4 | ü *"""


def test_hostile_names_of_folders_and_cases(tmp_path):
    folder = tmp_path / f"project {HOSTILE}"
    folder.mkdir()
    foreign = ["case_$(touch mark5)", "case_1;touch mark6", "case_'`touch mark7`", "case_.."]
    data = {"root": f"data {HOSTILE}", "exclude": foreign}
    configuration = {"data": data, "results": f"results {HOSTILE}", "folds": {"count": 2}}
    project = make_project(folder, configuration)
    root = folder / data["root"]
    write_phantom(root, labelled=2, unlabelled=1, size=64)
    for name in foreign:
        shutil.copytree(root / "case_00000", root / name)
    run = project.snakemake("--until", "check_cases", "crop_true_roi")
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    results = folder / configuration["results"]
    listed = (results / "cases.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in listed[1:]] == ["case_00000", "case_00001", "case_00002"]
    assert not list(tmp_path.rglob("mark*"))
    assert {path.name for path in tmp_path.iterdir()} == {folder.name}
    assert {path.name for path in folder.iterdir() if path.is_dir()} >= {root.name, results.name}


def test_braces_in_a_folder_are_refused(sketch):
    path = sketch.folder / "run.yaml"
    values = yaml.safe_load(path.read_text()) | {"results": "results {method}"}
    path.write_text(yaml.safe_dump(values))
    run = sketch.snakemake("--dry-run")
    assert run.returncode == 1
    assert "results: Snakemake takes braces for wildcards" in run.stderr
