"""The workflow on a real SLURM, through all that happens to jobs on a cluster."""

import hashlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from ..workflow.conftest import Project
from .conftest import MODELS, Cluster, small_project, wait_until, write_profile

COMMAND = [sys.executable, "-m", "snakemake", "--cores", "8", "--profile", "slurm"]


def checksums(project: Project, names: list[str]) -> dict[str, str]:
    return {n: hashlib.sha256((project.folder / n).read_bytes()).hexdigest() for n in names}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Project:
    """The same models by a local run, as on a machine with two GPUs."""
    project = small_project(tmp_path_factory.mktemp("undisturbed"))
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "0,1"}
    run = project.snakemake("--cores", "8", *MODELS, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    return project


def test_local_trainings_have_a_gpu_each(undisturbed):
    """Eight trainings on two GPUs and eight cores: no two at once have the same."""
    spans = []
    for path in sorted(undisturbed.folder.glob("results/logs/train/*.log")):
        begun, gpu = re.match(r"([\d-]+ [\d:,]+) GPU (\d)\n", path.read_text()).groups()
        begun = datetime.strptime(begun, "%Y-%m-%d %H:%M:%S,%f").timestamp()
        spans.append((gpu, begun, path.stat().st_mtime))
    assert len(spans) == len(MODELS)
    assert {gpu for gpu, _, _ in spans} == {"0", "1"}
    for gpu in "01":
        ordered = sorted(span[1:] for span in spans if span[0] == gpu)
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(ordered))


class Watch(threading.Thread):
    """Looks at a project's trainings several times a second: which GPU each was given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.seen: list[list[str]] = []
        self.ended = False

    def run(self) -> None:
        while not self.ended:
            self.seen.append(
                [given for given in map(self._gpu_of, Path("/proc").glob("[0-9]*")) if given]
            )
            time.sleep(0.2)

    def _gpu_of(self, process: Path) -> str:
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if arguments[1:4] != [b"-m", b"renal", b"train"] or self._is_elsewhere(process):
                return ""
            environment = (process / "environ").read_bytes()
        except OSError:  # it has ended meanwhile
            return ""
        found = re.search(rb"\0CUDA_VISIBLE_DEVICES=([^\0]*)", environment)
        return found[1].decode() if found else "none"

    def _is_elsewhere(self, process: Path) -> bool:
        return (process / "cwd").readlink() != self.folder


@pytest.fixture
def watch(runs):
    watch = Watch(runs.project.folder)
    watch.start()
    yield watch
    watch.ended = True
    watch.join()


@dataclass
class Runs:
    """Starts snakemake on the cluster; what it says is gathered in output.txt."""

    project: Project
    cluster: Cluster
    processes: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen:
        with (self.project.folder / "output.txt").open("a") as output:
            run = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=self.project.folder,
                env=self.cluster.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(run)
        return run

    def says(self) -> str:
        return (self.project.folder / "output.txt").read_text()

    def kill(self, run: subprocess.Popen) -> None:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait(10)


@pytest.fixture
def runs(cluster, undisturbed, tmp_path):
    """For a project whose results are still to be made."""
    project = Project(tmp_path)
    leave = shutil.ignore_patterns("results", ".snakemake")
    shutil.copytree(undisturbed.folder, tmp_path, dirs_exist_ok=True, ignore=leave)
    runs = Runs(project, cluster)
    yield runs
    for run in runs.processes:
        runs.kill(run)
    if jobs := cluster.jobs():
        cluster.run("scancel", *jobs)


class Faults:
    """Each fault is done to another training, as soon as it runs and has stored a state."""

    def __init__(self, project: Project, cluster: Cluster) -> None:
        self.project = project
        self.cluster = cluster
        self.hit: set[str] = set()

    def next_training(self) -> tuple[str, str]:
        """SLURM's number of a running training, and method_stage_fold."""
        return wait_until(self._training, f"a training that is none of {self.hit}")

    def _training(self) -> tuple[str, str] | None:
        for job, comment in self.cluster.jobs("RUNNING").items():
            _, _, name = comment.partition("rule_train_wildcards_")
            method, stage, fold = name.split("_") if name else ("", "", "")
            state = self.project.folder / f"results/{method}/{stage}/fold{fold}/state.pt"
            # The limits on time and memory are faults enough for the variant.
            if method == "resvnet" and name not in self.hit and state.exists():
                self.hit.add(name)
                return job, name
        return None

    def scancel(self) -> None:
        job, _ = self.next_training()
        self.cluster.run("scancel", job)

    def requeue(self) -> None:
        job, _ = self.next_training()
        self.cluster.run("scontrol", "requeue", job)

    def kill_process(self) -> None:
        _, name = self.next_training()
        method, stage, fold = name.split("_")
        subprocess.run(
            ["pkill", "-9", "-f", f"renal train .*--output results/{method}/{stage}/fold{fold} "],
            check=True,
        )

    def kill_step(self) -> None:
        job, _ = self.next_training()
        self.cluster.run("scancel", "--signal=KILL", f"{job}.0")

    def node_down(self) -> None:
        wait_until(lambda: self.cluster.jobs("RUNNING"), "a running job")
        node = f"nodename={socket.gethostname().partition('.')[0]}"
        self.cluster.run("scontrol", "update", node, "state=down", "reason=test")
        # The daemon of the node, which is well, reports it back.
        wait_until(lambda: "idle" in self.cluster.run("sinfo", "--noheader", "--format=%T"), "node")


def kill_main(runs: Runs, run: subprocess.Popen) -> subprocess.Popen:
    """Kill -9 of snakemake itself; then what its messages say, until it goes on."""
    runs.kill(run)
    assert runs.start(*MODELS).wait(60) == 1
    assert "LockException" in runs.says() and "--unlock" in runs.says()
    assert runs.start("--unlock").wait(60) == 0
    before = set(runs.cluster.jobs())
    assert runs.start(*MODELS).wait(60) == 1
    (cancel,) = re.findall(r"`(scancel [\d ]+)`", runs.says())
    # Some may have ended meanwhile.
    assert set(runs.cluster.jobs()) <= set(cancel.split()[1:]) <= before
    runs.cluster.run(*cancel.split())
    return runs.start(*MODELS)


def test_every_fault_ends_with_the_same_models(undisturbed, runs, watch):
    project, cluster = runs.project, runs.cluster
    limits = {
        "runtime": "1 if wildcards.method == 'variant' and wildcards.stage == 'whole' else 30",
        "mem_mb": "100 if wildcards.method == 'variant' and attempt == 1 else 1500",
    }
    gpu_job = {"slurm_partition": "gpu", "gpu_model": "fake", "nodes": 1}
    write_profile(project, **{"set-resources": {"train": {**gpu_job, **limits}}})
    run = runs.start(*MODELS)
    faults = Faults(project, cluster)
    faults.scancel()
    faults.requeue()
    run = kill_main(runs, run)
    faults.kill_process()
    faults.kill_step()
    faults.node_down()
    assert run.wait(400) == 0, runs.says()[-3000:]

    assert checksums(project, MODELS) == checksums(undisturbed, MODELS)
    # The variant's second stage was killed for want of memory before it had a state.
    for name in MODELS[:6]:
        log = project.folder / "results/logs/train" / f"{'-'.join(name.split('/')[1:4])}.log"
        assert "going on after epoch" in log.read_text(), name
    done = Counter(cluster.jobs("all").values())
    assert {n for c, n in done.items() if "train" not in c and "window" not in c} == {1}
    assert max(map(len, watch.seen)) == 2
    assert all(len(set(given)) == len(given) for given in watch.seen)
    assert {gpu for given in watch.seen for gpu in given} <= {"0", "1"}


@pytest.mark.slow
def test_a_whole_run_through_faults_at_random(undisturbed, runs):
    """Any job may be cancelled, requeued or killed; tables and segmentations must not show it."""
    finished = undisturbed.snakemake("--cores", "8")
    assert finished.returncode == 0, finished.stderr[-3000:]
    project, cluster = runs.project, runs.cluster
    write_profile(project)
    run = runs.start()
    draw, done = random.Random(0), Counter()
    deadline = time.monotonic() + 1500
    while run.poll() is None and time.monotonic() < deadline:
        time.sleep(draw.uniform(2, 15))
        running = list(cluster.jobs("RUNNING").items())
        if not running or sum(done.values()) == 15:
            continue
        job, comment = draw.choice(running)
        fault = draw.choice(["scancel", "requeue", "kill"])
        command = ["scontrol", "requeue"] if fault == "requeue" else ["scancel"]
        command += ["--signal=KILL", "--full"] if fault == "kill" else []
        subprocess.run([*command, job], env=cluster.environment, check=False)
        done[fault, comment.split("_wildcards")[0]] += 1
    assert run.returncode == 0, runs.says()[-3000:]
    assert sum(done.values()) >= 8, done
    tables = "*/scores.csv", "tables/cv.*"
    patterns = "*/*/fold*/model.safetensors", "*/segmentation/*.nii.gz", *tables
    folders = undisturbed.folder, project.folder
    names = [
        sorted(
            str(path.relative_to(folder))
            for pattern in patterns
            for path in folder.glob(f"results/{pattern}")
        )
        for folder in folders
    ]
    assert names[0] == names[1]
    assert len(names[0]) == 8 + 2 * 4 + 2 + 4
    assert checksums(project, names[0]) == checksums(undisturbed, names[0])
