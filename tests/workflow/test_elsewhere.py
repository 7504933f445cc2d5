"""Used from elsewhere, the workflow behaves as at home: as a module, deployed, or without data."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ..preloaded import preloaded_python
from .conftest import REPOSITORY, Planned, Project
from .test_plan import FULL_PLAN

INSTALLING = (REPOSITORY / "docs/installing.md").read_text()
LOOKING = ("--lint", "--rulegraph", "--dag", "--filegraph", "--d3dag")


def snakemake(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [preloaded_python(), "-m", "snakemake", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


def module_project(folder: Path, data: Path, prefix: str = "") -> Project:
    """A workflow of somebody else's that uses ours as a module, as the documentation writes it."""
    (text,) = re.findall(r"^```\n(configfile:.*?)^```$", INSTALLING, re.M | re.S)
    text = text.replace("../renal", str(REPOSITORY)).replace("config.yaml", "run.yaml")
    names = f" as {prefix}*" if prefix else ""
    text = text.replace(" as renal_*", names).replace("renal_all", f"{prefix}all")
    (folder / "Snakefile").write_text(text)
    configuration = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    configuration["data"]["root"] = str(data)
    changes = {"folds": {"count": 2, "seed": 2019}, "batch_size": 2}
    (folder / "run.yaml").write_text(yaml.safe_dump(configuration | changes))
    return Project(folder)


def deployed_project(folder: Path, data: Path) -> Project:
    """The workflow as the documentation's commands deploy it."""
    programs = Path(sys.executable).parent
    if not (programs / "snakedeploy").exists():
        pytest.skip("snakedeploy is not installed: it is not yet for Python 3.13")
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder / "renal"], check=True)
    commands = re.findall(r"^(?:snakedeploy|sed) .+$", INSTALLING, re.M)
    done = subprocess.run(
        ["bash", "-c", " && ".join(commands)],
        cwd=folder,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    deployed = folder / "kidneys"
    changes = {"data": {"root": str(data)}, "batch_size": 2}
    (deployed / "run.yaml").write_text(yaml.safe_dump(changes))
    return Project(deployed)


def stored_folds(folder: Path) -> dict[str, str]:
    rows = (folder / "results/folds.csv").read_text().splitlines()[2:]
    return {row.split(",")[0]: row.split(",")[1] for row in rows}


# -- as a module ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "renal_"])
def test_a_module_plans_what_is_planned_at_home(sketch, tmp_path, prefix):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    project = module_project(folder, sketch.folder / "data", prefix)
    project.configure({"folds": {"count": 5}})
    jobs = project.plan()
    del jobs["everything"]
    jobs.pop("all", None)
    assert jobs == {f"{prefix}{rule}": count for rule, count in FULL_PLAN.items()}
    assert not (folder / "results").exists()


@pytest.mark.parametrize("prefix", ["renal_", None], ids=["as a module", "deployed"])
def test_the_folds_are_stored(small_data, tmp_path, prefix):
    data = shutil.copytree(small_data, tmp_path / "data")
    if prefix:
        (folder := tmp_path / "elsewhere").mkdir()
        project = module_project(folder, data, prefix)
    else:
        project = deployed_project(tmp_path, data)
        project.configure({"folds": {"count": 2}})
    check_cases = f"{prefix or ''}check_cases"
    run = project.snakemake("--until", check_cases)
    assert run.returncode == 0, run.stderr[-2000:]
    before = stored_folds(project.folder)
    assert sorted(before) == [f"case_{number:05d}" for number in range(5)]
    # Dealt anew, six cases would change places: the first by name comes to come first.
    shutil.copytree(data / "case_00000", data / "case_0")
    assert project.snakemake("--until", check_cases).returncode == 0
    after = stored_folds(project.folder)
    assert {name: after[name] for name in before} == before
    assert after["case_0"] in ("0", "1")


FAKE_SQUEUE = """#!/bin/sh
echo "4711|rule_train_wildcards|$PWD"
"""


@pytest.mark.parametrize("used", ["at home", "as a module", "deployed"])
def test_jobs_of_another_run_are_refused(sketch, tmp_path, used):
    """Before any job is submitted, and by no dry run."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("squeue", "sbatch", "sinfo", "sacct", "sacctmgr", "scontrol"):
        text = FAKE_SQUEUE if name == "squeue" else f"#!/bin/sh\ntouch {tmp_path}/{name}.called\n"
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    project = sketch
    if used == "as a module":
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        project = module_project(folder, sketch.folder / "data", "renal_")
    if used == "deployed":
        project = deployed_project(tmp_path, sketch.folder / "data")
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    cluster = ("--executor", "slurm", "--jobs", "2")
    run = project.snakemake(*cluster, env=environment)
    assert run.returncode == 1
    assert "jobs of another run" in run.stderr
    assert "scancel 4711" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "sbatch.called").exists()
    assert not (project.folder / "results/cases").exists()
    assert project.snakemake(*cluster, "--dry-run", env=environment).returncode == 0


@pytest.mark.parametrize("gpus", ["", "0"])
def test_what_a_scheduler_is_asked_for_is_not_what_the_login_node_has(ended, tmp_path, gpus):
    (programs := tmp_path / "bin").mkdir()
    for name in ("squeue", "sbatch", "sinfo", "sacct", "sacctmgr", "scontrol"):
        text = f'echo "$@" > {tmp_path}/asked; exit 1' if name == "sbatch" else "exit 0"
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "CUDA_VISIBLE_DEVICES": gpus}
    model = "results/demo/resvnet/whole/fold0/model.safetensors"
    (ended.folder / model).unlink()
    cluster = ("--executor", "slurm", "--jobs", "2")
    cluster += ("--slurm-init-seconds-before-status-checks", "1")
    run = ended.snakemake(model, *cluster, env=environment)
    asked = (tmp_path / "asked").read_text()
    assert " --mem 6000 " in asked and " --gpus=1 " in asked
    assert "Provided resources: gpu" not in run.stderr  # no more than so many at once
    run = ended.snakemake("results/demo/cases.csv", "--forcerun", "list_cases", env=environment)
    assert ("Provided resources: gpu" in run.stderr) == bool(gpus)


# -- on a machine without data --------------------------------------------------------------------


@pytest.fixture(scope="module")
def without_data(tmp_path_factory) -> Path:
    """The program as it is cloned."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("rules", "workflow", "envs", "profiles"):
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore)
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(REPOSITORY / name, folder / name)
    return folder


@pytest.mark.parametrize("mode", LOOKING)
def test_the_rules_can_be_looked_at_without_data(without_data, mode):
    drawn = (REPOSITORY / "docs/pictures/rules.dot").read_text()  # by `make pictures`, of two rows
    rows = ["--config", "methods=[resvnet,damnet]"] if mode == "--rulegraph" else []
    run = snakemake(without_data, mode, *rows)
    assert run.returncode == 0, run.stderr[-2000:]
    if mode == "--rulegraph":
        shown = set(re.findall(r'label = "(\w+)"', run.stdout))
        assert shown > {*FULL_PLAN, "all"}
        # Snakemake writes arrows in another order each time.
        assert sorted(run.stdout.splitlines()) == sorted(drawn.splitlines())
    if mode == "--d3dag":
        rules = {node["value"]["rule"] for node in json.loads(run.stdout)["nodes"]}
        assert "write_submission" in rules
    assert not (without_data / "results").exists()


@pytest.mark.parametrize("arguments", [["--dry-run"], []])
def test_a_run_without_data_says_where_it_goes(without_data, arguments):
    run = snakemake(without_data, "--cores", "1", *arguments)
    assert run.returncode == 1
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert "data/kits19: no such folder" in line and "make demo" in line
    assert not (without_data / "results").exists()


# -- the catalog's example ------------------------------------------------------------------------


@pytest.fixture
def example(without_data, tmp_path) -> Path:
    """A clone with the example's data and configuration, without what a run of it left."""
    folder = shutil.copytree(without_data, tmp_path / "clone")
    left = shutil.ignore_patterns("results", ".snakemake")
    shutil.copytree(REPOSITORY / ".test", folder / ".test", ignore=left)
    return folder


# As its configuration says.
EXAMPLE = ("--directory", ".test", "--configfile", ".test/config/config.yaml", "--cores", "1")


def test_the_example_is_planned_by_the_command_that_it_names(example):
    assert " ".join(EXAMPLE[:-2]) in (example / ".test/config/config.yaml").read_text()
    run = snakemake(example, *EXAMPLE, "--dry-run")
    assert run.returncode == 0, run.stdout + run.stderr
    jobs = Planned(run.stdout).jobs
    assert jobs["train"] == 4  # two stages without either fold
    assert jobs.keys() == FULL_PLAN.keys()


@pytest.mark.slow
def test_the_example_runs(example):
    run = snakemake(example, *EXAMPLE)
    assert run.returncode == 0, run.stderr[-2000:]
    with (example / ".test/results/resvnet/scores.csv").open() as file:
        scored = {row["case"] for row in csv.DictReader(line for line in file if line[0] != "#")}
    assert scored == {f"case_{number:05d}" for number in range(4)}
    assert (example / ".test/results/resvnet/segmentation/case_00004.nii.gz").exists()
    assert not (example / "results").exists()


# -- deployed -------------------------------------------------------------------------------------


def test_deployed_by_snakedeploy_it_plans_what_is_planned_at_home(sketch, tmp_path):
    assert deployed_project(tmp_path, sketch.folder / "data").plan() == FULL_PLAN
