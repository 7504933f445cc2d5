"""conda environments, container definitions and the lock agree, and steps run in them.

Neither conda nor Apptainer need be there: programs of their names stand in for them, which show
that Snakemake is given what it needs. What they would build is checked by its pins.
"""

import importlib.util
import os
import re
import sys

import pytest
import yaml
from packaging.requirements import Requirement

from .conftest import REPOSITORY, make_project

ENVS = REPOSITORY / "envs"


@pytest.fixture(scope="module")
def conda():
    """The program that writes the environments."""
    spec = importlib.util.spec_from_file_location("conda_environments", ENVS / "conda.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clone(small_data, tmp_path):
    """A project that is only planned, or checks its cases."""
    (folder := tmp_path / "clone").mkdir()
    return make_project(folder, {"data": {"root": str(small_data)}, "folds": {"count": 2}})


def stand_in(folder, name, text):
    """PATH with a program of this name before all others."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


# -- what they hold --------------------------------------------------------------------------------


def test_environments_are_those_that_the_locks_give(conda):
    for name, text in conda.environments().items():
        assert (ENVS / name).read_text() == text, f"{name}: run python envs/conda.py"


def test_every_package_is_pinned(conda):
    locked = conda.pins("requirements.lock") | conda.pins("envs/nnunet.lock")
    for path in ENVS.glob("*.yaml"):
        *of_conda, by_pip = yaml.safe_load(path.read_text())["dependencies"]
        assert all(re.fullmatch(r"(python|pip)=[0-9.]+", package) for package in of_conda)
        for line in by_pip["pip"]:
            if not line.startswith("--"):
                assert line.replace("+cpu", "") == locked[conda.normal(line.partition("==")[0])]


@pytest.mark.parametrize("python", ["3.11.7", "3.12.7", "3.13.5"])
def test_the_lock_pins_all_that_its_packages_need(conda, python):
    """But for CUDA's libraries, which torch pins by itself."""
    lock = conda.pins("requirements.lock")
    for name, line in lock.items():
        if name != "torch":
            needs = conda.needs(Requirement(line), python)
            needed = {conda.normal(further.name) for further in needs}
            assert needed <= lock.keys(), f"{name}: {sorted(needed - lock.keys())}"


def test_what_an_environment_needs_is_in_it(conda):
    lock = conda.pins("requirements.lock")
    listed = yaml.safe_load((ENVS / "renal.yaml").read_text())["dependencies"][-1]["pip"]
    names = {conda.normal(line.partition("==")[0]) for line in listed}
    assert conda.closure(sorted(names), lock) == names
    assert {"torch", "snakemake", "simpleitk", "mpmath", "pydantic-core"} <= names
    assert not {"pytest", "ruff", "mypy", "monai"} & names


def test_definitions_take_the_same_steps_from_the_lock(conda):
    docker, apptainer = ((ENVS / name).read_text() for name in ("Dockerfile", "renal.def"))
    base = f"python:{conda.PYTHON}-slim-bookworm"
    assert f"FROM {base}\n" in docker and f"From: {base}\n" in apptainer
    (command,) = re.findall(r"^RUN (.*)$", docker, re.M)
    assert f"%post\n    {command}\n" in apptainer
    assert "--requirement /requirements.lock" in command
    assert "COPY requirements.lock /requirements.lock" in docker
    assert "%files\n    requirements.lock /requirements.lock" in apptainer


def test_the_driver_is_told_wherever_cuda_is_brought_along():
    for name in ("renal.yaml", "nnunet.yaml", "Dockerfile", "renal.def"):
        assert "driver r580 or newer (CUDA 13.0" in (ENVS / name).read_text()
    assert "r580" in (REPOSITORY / "docs/installing.md").read_text()


# -- how they are used -----------------------------------------------------------------------------

APPTAINER = f"""#!{sys.executable}
import os, sys
if sys.argv[1] == "--version":
    print("apptainer version 1.3.6")
    sys.exit()
place = sys.argv.index("exec")
with open({{told!r}}, "a") as file:
    print(*sys.argv[place + 1 :], file=file)
image = sys.argv.index("envs/renal.sif")
os.execvp(sys.argv[image + 1], sys.argv[image + 1 :])
"""


def test_steps_run_in_the_image(clone, tmp_path):
    program, told = tmp_path / "bin", tmp_path / "told.txt"
    path = stand_in(program, "apptainer", APPTAINER.format(told=str(told)))
    # The image's own interpreter is found by its name.
    stand_in(program, "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    options = ("--sdm", "apptainer", "--apptainer-args", "--nv --bind /data")
    run = clone.snakemake("results/cases.csv", *options, env=os.environ | path)
    assert run.returncode == 1
    assert "renal.sif: missing: build it in" in run.stderr and "Traceback" not in run.stderr
    (clone.folder / "envs/renal.sif").touch()
    run = clone.snakemake("results/cases.csv", *options, env=os.environ | path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "case_00000" in (clone.folder / "results/cases.csv").read_text()
    calls = told.read_text().split("--home ")[1:]
    assert len(calls) == 4  # three batches are checked, and listed
    assert all("--nv --bind /data" in call and "python -m renal" in call for call in calls)
    again = clone.snakemake("results/cases.csv", "--dry-run", *options, env=os.environ | path)
    assert "Nothing to be done" in again.stdout + again.stderr


CONDA = """#!/bin/sh
echo '{"platform": "linux-64", "conda_prefix": "/opt/conda", "conda_version": "25.1.0",'
echo '"get": {"channel_priority": "strict"}}'
"""


def test_containerize_writes_a_definition_with_every_environment(clone, tmp_path):
    path = stand_in(tmp_path / "bin", "conda", CONDA)
    run = clone.snakemake("--containerize", env=os.environ | path)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.startswith("FROM condaforge/miniforge3:")
    for name in ("renal.yaml", "nnunet.yaml"):
        assert f"envs/{name}" in run.stdout
    assert run.stdout.count("COPY ") + run.stdout.count("ADD ") >= 2
