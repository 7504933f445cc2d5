"""A finished run of the workflow on the phantom, made once and asked many questions."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from renal.data.phantom import write_phantom
from renal.recipe import merged

from ..preloaded import preloaded_python

REPOSITORY = Path(__file__).resolve().parents[2]
METHODS = REPOSITORY / "workflow/methods"
# Other tests run beside it.
RUN = ("--configfile", "run.yaml", "--cores", "1")
# Networks that learn as much as the demo's in half of their time.
NARROW = {
    "whole": {
        "training": {"network": {"width": 4}, "optimizer": {"learning_rate": 0.01}, "epochs": 8}
    },
    "tumour": {
        "training": {"network": {"width": 4}, "optimizer": {"learning_rate": 0.004}, "epochs": 14}
    },
}
PROGRAM = ("Snakefile", "rules", "workflow", "envs", "profiles", "config.yaml", "demo.yaml")


@dataclass(frozen=True)
class Project:
    """A copy of the program in a folder of its own, with its configuration in run.yaml."""

    folder: Path

    def snakemake(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        """Run Snakemake, its steps, too, by a Python that has its libraries."""
        return subprocess.run(
            [preloaded_python(), "-m", "snakemake", *RUN, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
            **options,
        )

    def planned(self, *arguments: str) -> "Planned":
        """What a dry run plans."""
        run = self.snakemake("--dry-run", *arguments)
        assert run.returncode == 0, run.stdout + run.stderr
        return Planned(run.stdout)

    def plan(self, *arguments: str) -> dict[str, int]:
        """Number of planned jobs by rule; the targets `all` and the methods' names left out."""
        return self.planned(*arguments).jobs

    def configure(self, changes: dict) -> None:
        path = self.folder / "run.yaml"
        path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), changes)))

    def edit_code(self, text: str, replacement: str) -> None:
        """Replace a text that is in one place of this copy of the package."""
        found = [
            path
            for path in (self.folder / "workflow/renal").rglob("*.py")
            for _ in range(path.read_text().count(text))
        ]
        assert len(found) == 1, f"{text!r} is in {[path.name for path in found]}"
        found[0].write_text(found[0].read_text().replace(text, replacement))

    def store_a_state_after_every_epoch(self) -> None:
        """So that a kill falls between two states."""
        self.edit_code("SECONDS_BETWEEN_STATES = 60.0\n", "SECONDS_BETWEEN_STATES = 0.0\n")


@dataclass(frozen=True)
class Planned:
    """What a dry run printed."""

    text: str

    @property
    def jobs(self) -> dict[str, int]:
        """Number of jobs by rule; the targets `all` and the methods' names left out."""
        table = self.text.partition("Job stats:")[2].partition("total")[0]
        jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
        targets = {"all", "catalog", *(path.stem for path in METHODS.glob("*.yaml"))}
        return {name: count for name, count in jobs.items() if name not in targets}

    @property
    def trainings(self) -> set[tuple[str, str, int]]:
        """Method, stage and held-out fold of every training."""
        told = re.findall(r"Training (\w+), stage (\w+), without fold (\d+)", self.text)
        return {(method, stage, int(fold)) for method, stage, fold in told}


def make_project(folder: Path, configuration: dict) -> Project:
    for name in PROGRAM:
        source = REPOSITORY / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)
    (folder / "run.yaml").write_text(yaml.safe_dump(configuration))
    return Project(folder)


def results(project: Project) -> Path:
    """Where the demo, and small projects like it, put their results."""
    return project.folder / "results/demo"


def demo_configuration() -> dict:
    return yaml.safe_load((REPOSITORY / "demo.yaml").read_text())


def demo_on(data: Path, name: str, changes: dict) -> dict:
    """The configuration of demos/<name>.yaml, with changes, on these cases."""
    demo = yaml.safe_load((REPOSITORY / f"demos/{name}.yaml").read_text())
    return merged(merged(demo, {"data": {"root": str(data)}, "results": "results"}), changes)


def assert_segmented_in_native_geometry(segmentations: Path, images: list[Path]) -> None:
    """Each image has a segmentation of its shape and affine, uint8, with labels 0 to 2."""
    assert len(list(segmentations.glob("[!.]*"))) == len(images)
    for path in images:
        image = nib.load(path)
        segmentation = nib.load(segmentations / f"{path.parent.name}.nii.gz")
        assert segmentation.shape == image.shape
        assert np.array_equal(segmentation.affine, image.affine)
        assert segmentation.get_data_dtype() == np.uint8
        assert set(np.unique(np.asanyarray(segmentation.dataobj))) <= {0, 1, 2}


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory) -> Path:
    """The cases that `make demo` makes, with fewer pixels; not to be changed."""
    folder = tmp_path_factory.mktemp("demo_data")
    write_phantom(folder, labelled=30, unlabelled=2, seed=0, size=128, processes=2)
    return folder


@pytest.fixture(scope="session")
def finished(demo_data, tmp_path_factory) -> Project:
    """What `make demo` runs, with two folds instead of five and half as wide networks."""
    folder = tmp_path_factory.mktemp("finished")
    overrides = {"resvnet": {"stages": NARROW}}
    changes = {"folds": {"count": 2}, "batch_size": 15, "overrides": overrides}
    project = make_project(folder, merged(demo_configuration(), changes))
    shutil.copytree(demo_data, folder / "results/demo/data")
    run = project.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return project


def small_configuration() -> dict:
    """Two folds of tiny networks, and epochs enough for a kill to fall among them."""
    configuration = demo_configuration()
    configuration |= {"folds": {"count": 2}, "batch_size": 4}
    small = {"network": {"width": 2}, "epochs": 10}
    for stage in configuration["overrides"]["resvnet"]["stages"].values():
        stage["training"] |= small
        stage["geometry"] = {"size": [16, 32, 32]}
    return configuration


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """Four labelled cases and an unlabelled one, of 64 x 64 pixels; not to be changed."""
    folder = tmp_path_factory.mktemp("small_data")
    write_phantom(folder, labelled=4, unlabelled=1, size=64)
    return folder


@pytest.fixture
def fresh(small_data, tmp_path) -> Project:
    """A small project of which nothing is made yet."""
    shutil.copytree(small_data, tmp_path / "results/demo/data")
    return make_project(tmp_path, small_configuration())


@dataclass(frozen=True)
class FirstRun:
    """How the first run of a project ended, and what it left in the results folder."""

    project: Project
    ended: subprocess.CompletedProcess
    left: frozenset[str]


@pytest.fixture(scope="session")
def first_run(small_data, tmp_path_factory) -> FirstRun:
    """A small run from nothing, with a bad case among those that are only to be segmented."""
    folder = tmp_path_factory.mktemp("small")
    data = folder / "results/demo/data"
    shutil.copytree(small_data, data)
    shutil.copytree(data / "case_00004", data / "case_00005")
    (data / "case_00005/imaging.nii.gz").write_bytes(b"not an image")
    project = make_project(folder, small_configuration())
    ended = project.snakemake()
    results = folder / "results/demo"
    left = frozenset(str(path.relative_to(results)) for path in results.rglob("*"))
    return FirstRun(project, ended, left)


@pytest.fixture(scope="session")
def small(first_run) -> Project:
    """The small project after the bad case was taken away; not to be changed."""
    shutil.rmtree(first_run.project.folder / "results/demo/data/case_00005")
    run = first_run.project.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return first_run.project


@pytest.fixture
def ended(small, tmp_path) -> Project:
    """A copy of the finished small project, which a test may change and run again."""
    shutil.copytree(small.folder, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)


@pytest.fixture
def sketch(tmp_path) -> Project:
    """A project with 12 labelled and 3 unlabelled cases whose files are empty: for planning."""
    configuration = {"data": {"root": "data"}, "batch_size": 2}
    project = make_project(tmp_path, configuration)
    for number in range(15):
        case = tmp_path / "data" / f"case_{number:05d}"
        case.mkdir(parents=True)
        (case / "imaging.nii.gz").touch()
        if number < 12:
            (case / "segmentation.nii.gz").touch()
    return project


@pytest.fixture
def restored(finished):
    """The finished project, put back after a test that edits its files."""
    saved = {}

    def edit(path: str, text: str | None) -> None:
        """Replace a file's text; None removes it again afterwards only."""
        file = finished.folder / path
        saved.setdefault(file, (file.read_bytes(), os.stat(file)) if file.exists() else None)
        if text is not None:
            file.write_text(text)

    yield edit
    for file, content in saved.items():
        if content is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(content[0])
            os.utime(file, ns=(content[1].st_atime_ns, content[1].st_mtime_ns))
