"""A package that was built and installed, without a clone around it."""

import os
import subprocess
import sys
import tomllib

import pytest
import yaml

from .conftest import REPOSITORY, Planned
from .test_plan import FULL_PLAN


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package, as pip leaves it; nothing of the clone's folder is found."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--target", folder, REPOSITORY]
    subprocess.run([*pip, *options], check=True)
    return folder


def renal(installed, folder, *arguments):
    return subprocess.run(
        [sys.executable, "-P", "-m", "renal", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_version_names_the_commit(installed, tmp_path):
    commit = subprocess.run(
        ["git", "-C", REPOSITORY, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout
    told = renal(installed, tmp_path, "--version").stdout
    assert told.startswith("renal 0.")
    assert f"({commit[:12]}" in told


def test_it_plans_in_any_folder_what_is_planned_in_a_clone(installed, sketch, tmp_path):
    given = {"data": {"root": str(sketch.folder / "data")}, "batch_size": 2}
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "config.yaml").write_text(yaml.safe_dump(given))
    dry = renal(
        installed, elsewhere, "run", "--cores", "2", "--dry-run", "--config", "results=runs"
    )
    assert dry.returncode == 0, dry.stderr
    assert Planned(dry.stdout + dry.stderr).jobs == FULL_PLAN


def test_a_step_that_it_starts_is_its_own(installed, small_data, tmp_path):
    given = {"data": {"root": str(small_data)}, "folds": {"count": 2}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(given))
    done = renal(installed, tmp_path, "run", "--cores", "2", "--quiet", "--", "results/cases.csv")
    assert done.returncode == 0, done.stderr
    assert "case_00000" in (tmp_path / "results/cases.csv").read_text()


def test_environments_without_the_package_are_refused(installed, tmp_path):
    refused = renal(installed, tmp_path, "run", "--cores", "2", "--dry-run", "--sdm", "conda")
    assert refused.returncode != 0
    assert "use a clone" in refused.stdout + refused.stderr


# -- how it is released ---------------------------------------------------------------------------


def checked_tag(tag, folder):
    """What the release does before it builds anything, in the project's folder."""
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/release.yml").read_text())
    before = next(step for step in workflow["jobs"]["wheels"]["steps"] if "name" in step)
    return subprocess.run(
        ["bash", "-e", "-c", before["run"]],
        cwd=REPOSITORY,
        env=os.environ | {"GITHUB_REF_NAME": tag, "RUNNER_TEMP": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_notes_of_a_release_are_its_own_section(tmp_path):
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    done = checked_tag(f"v{version}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    sections = (REPOSITORY / "CHANGELOG.md").read_text().split("\n## ")
    (own,) = (section for section in sections if section.startswith(f"{version}\n"))
    assert (tmp_path / "notes.md").read_text().strip() == own.partition("\n")[2].strip()


def test_a_tag_of_another_version_releases_nothing(tmp_path):
    done = checked_tag("v99.0.0", tmp_path)
    assert done.returncode == 1
    assert "the tag is v99.0.0, and pyproject.toml has" in done.stdout
    assert not (tmp_path / "notes.md").exists()
