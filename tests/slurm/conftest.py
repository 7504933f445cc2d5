"""A SLURM of its own for the tests, and a small project to run on it."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from renal.data.phantom import write_phantom
from renal.recipe import merged

from ..workflow.conftest import REPOSITORY, Project, demo_configuration, make_project

SCRIPT = Path(__file__).with_name("cluster.sh")
# A second row of the tables, which shares its preparation with the first: eight trainings in all.
VARIANT = "extends: resvnet\nstages: {whole: {training: {epochs: 18}}}\n"
# Between two epochs, in a job of SLURM alone: time for a fault to come that costs no work.
PAUSE = "__import__('time').sleep('SLURM_JOB_ID' in __import__('os').environ and 2.2)"
METHODS, STAGES, FOLDS = ("resvnet", "variant"), ("whole", "tumour"), (0, 1)
MODELS = [
    f"results/{method}/{stage}/fold{fold}/model.safetensors"
    for method in METHODS
    for stage in STAGES
    for fold in FOLDS
]


@dataclass(frozen=True)
class Cluster:
    """A running SLURM with partitions `cpu` and `gpu`, and a node of two GPUs."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def jobs(self, states: str = "PENDING,RUNNING,COMPLETING") -> dict[str, str]:
        """SLURM's number of each job to the comment that the executor gave it."""
        listed = self.run("squeue", "--noheader", f"--states={states}", "--format=%i %k")
        return dict(line.split() for line in listed.splitlines())

    def told(self, job: str, name: str) -> str:
        """What SLURM tells of a job under a name, such as JobState."""
        return re.search(rf"\b{name}=(\S+)", self.run("scontrol", "show", "job", job))[1]


@pytest.fixture(scope="session")
def cluster():
    # Not pytest's folder: a socket's path may not be long.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        try:
            up = run_script("up", name)
            if up.returncode:
                reason = up.stderr.strip()[-300:] or f"exit status {up.returncode}"
                give_up = pytest.fail if "RENAL_NEEDS_SLURM" in os.environ else pytest.skip
                give_up(f"SLURM cannot be had here: {reason}")
            yield Cluster(Path(name))
        finally:
            run_script("down", name).check_returncode()


def run_script(command: str, folder: str) -> subprocess.CompletedProcess:
    # What hangs, such as an installation without a network, is ended with all that it started.
    limited = ["timeout", "--verbose", "--kill-after=10", "600", "bash", SCRIPT, command, folder]
    return subprocess.run(limited, capture_output=True, text=True, check=False)


def small_project(folder: Path) -> Project:
    """Two methods of tiny networks on two folds of four cases."""
    configuration = demo_configuration()
    configuration |= {
        "data": {"root": "data"},
        "results": "results",
        "methods": list(METHODS),
        "folds": {"count": 2},
        "batch_size": 4,
    }
    for stage in configuration["overrides"]["resvnet"]["stages"].values():
        stage["geometry"] = {"size": [16, 32, 32]}
        stage["training"] |= {"network": {"width": 2}, "epochs": 8}
    # What a method extends must be what the overrides say, too.
    variant = yaml.safe_load(VARIANT)["stages"]
    overrides = configuration["overrides"]
    overrides["variant"] = merged(overrides["resvnet"], {"stages": variant})
    project = make_project(folder, configuration)
    (folder / "workflow/methods/variant.yaml").write_text("extends: resvnet\n")
    write_phantom(folder / "data", labelled=4, unlabelled=0, size=64)
    # Its GPUs are names alone.
    project.edit_code("        refuse_unusable()\n        log.info", "        log.info")
    # A margin of a third of a minute in a minute, which leaves time for some epochs where a machine
    # is busy; and on the cluster no epoch so short that a training ends before its fault comes.
    project.store_a_state_after_every_epoch()
    project.edit_code("SECONDS_BEFORE_THE_LIMIT = 120.0\n", "SECONDS_BEFORE_THE_LIMIT = 20.0\n")
    project.edit_code("progress.epoch += 1\n", f"progress.epoch += 1; {PAUSE}\n")
    return project


def write_profile(project: Project, **changes: object) -> None:
    """The profile as it is shipped, for a cluster on which a minute is long."""
    profile = yaml.safe_load((REPOSITORY / "slurm/profile.yaml").read_text())
    profile |= {
        "slurm-init-seconds-before-status-checks": 8,
        # Snakemake ends no sooner than this time after its last submission.
        "max-jobs-per-timespan": "10/5s",
        "latency-wait": 5,
        "retries": 9,
        "configfile": "run.yaml",
    }
    profile["resources"]["runtime"] = 30
    profile["default-resources"]["slurm_partition"] = "cpu"
    for rule in ("train", "predict"):
        profile["set-resources"][rule] = {
            **profile["set-resources"][rule],
            "slurm_partition": "gpu",
            "gpu_model": "fake",
        }
    for key, value in changes.items():
        profile[key] = {**profile[key], **value} if isinstance(value, dict) else value
    (project.folder / "slurm").mkdir(exist_ok=True)
    (project.folder / "slurm/profile.yaml").write_text(yaml.safe_dump(profile))


def wait_until(condition: Callable[[], object], what: str, seconds: float = 900) -> object:
    """The condition's value once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.3)
    return value
