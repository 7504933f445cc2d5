"""A finished run of the workflow on the phantom, made once and asked many questions."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from renal.data.phantom import write_phantom

REPOSITORY = Path(__file__).resolve().parents[2]
METHODS = REPOSITORY / "workflow/methods"
PROGRAM = ("Snakefile", "rules", "workflow", "envs", "profiles", "config.yaml", "demo.yaml")


@dataclass(frozen=True)
class Project:
    """A copy of the program in a folder of its own, with its configuration in run.yaml."""

    folder: Path

    def snakemake(self, *arguments: str, **options) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "snakemake", "--configfile", "run.yaml", "--cores", "2"]
        return subprocess.run(
            [*command, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            **options,
        )

    def plan(self, *arguments: str) -> dict[str, int]:
        """Number of planned jobs by rule; the targets `all` and the methods' names left out."""
        planned = self.snakemake("--dry-run", *arguments)
        assert planned.returncode == 0, planned.stdout + planned.stderr
        table = planned.stdout.partition("Job stats:")[2].partition("total")[0]
        jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
        targets = {"all", "catalog", *(path.stem for path in METHODS.glob("*.yaml"))}
        return {name: count for name, count in jobs.items() if name not in targets}

    def trainings(self, *arguments: str) -> set[tuple[str, str, int]]:
        """Method, stage and held-out fold of every planned training."""
        planned = self.snakemake("--dry-run", *arguments)
        assert planned.returncode == 0, planned.stdout + planned.stderr
        told = re.findall(r"Training (\w+), stage (\w+), without fold (\d+)", planned.stdout)
        return {(method, stage, int(fold)) for method, stage, fold in told}

    def configure(self, changes: dict) -> None:
        from renal.recipe import merged

        path = self.folder / "run.yaml"
        path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), changes)))


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


def demo_configuration() -> dict:
    return yaml.safe_load((REPOSITORY / "demo.yaml").read_text())


def demo_on(finished: Project, name: str, changes: dict) -> dict:
    """The configuration of demos/<name>.yaml, with changes, on the finished project's cases."""
    from renal.recipe import merged

    demo = yaml.safe_load((REPOSITORY / f"demos/{name}.yaml").read_text())
    data = {"root": str(finished.folder / "results/demo/data")}
    return merged(merged(demo, {"data": data, "results": "results"}), changes)


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
def finished(tmp_path_factory) -> Project:
    """The demo, as `make demo` runs it: about four minutes on two cores."""
    folder = tmp_path_factory.mktemp("finished")
    project = make_project(folder, demo_configuration())
    write_phantom(
        folder / "results/demo/data", labelled=30, unlabelled=2, seed=0, size=192, processes=2
    )
    run = project.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return project


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
