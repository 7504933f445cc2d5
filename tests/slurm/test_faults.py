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
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from ..preloaded import preloaded_python
from ..workflow.conftest import Project
from .conftest import METHODS, MODELS, Cluster, small_project, wait_until, write_profile

COMMAND = ["-m", "snakemake", "--cores", "8", "--profile", "slurm"]


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


@dataclass(frozen=True)
class Training:
    """A running process that trains a network."""

    process: psutil.Process
    parent: int
    job: str
    gpu: str
    output: Path

    @property
    def name(self) -> str:
        """Method, stage and fold as its log is named."""
        return "-".join(self.output.parts[-3:])

    def has_stored_a_state(self) -> bool:
        """Whether it has done so itself, and not the one before it."""
        try:
            return (self.output / "state.pt").stat().st_mtime > self.process.create_time()
        except FileNotFoundError:
            return False


def processes_in(folder: Path) -> list[psutil.Process]:
    """The processes whose working folder this is."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended meanwhile
            if process.cwd() == str(folder):
                found.append(process)
    return found


def trainings_in(folder: Path) -> list[Training]:
    """The trainings of a project that are running."""
    found = {}
    for process in processes_in(folder):
        with suppress(psutil.Error):
            arguments = process.cmdline()
            if arguments[1:4] != ["-m", "renal", "train"]:
                continue
            variables = process.environ()
            found[process.pid] = Training(
                process,
                process.ppid(),
                variables["SLURM_JOB_ID"],
                variables.get("CUDA_VISIBLE_DEVICES", "none"),
                folder / arguments[arguments.index("--output") + 1],
            )
    # What a training starts looks like the training itself until it has become its own program.
    return [training for training in found.values() if training.parent not in found]


class Watch(threading.Thread):
    """Looks at a project's trainings several times a second: which GPU each was given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.seen: list[list[str]] = []
        self.ended = False

    def run(self) -> None:
        while not self.ended:
            self.seen.append([training.gpu for training in trainings_in(self.folder)])
            time.sleep(0.2)


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

    def start(self, *arguments: str, python: str = sys.executable) -> subprocess.Popen:
        """Its jobs, too, are run by this Python."""
        with (self.project.folder / "output.txt").open("a") as output:
            run = subprocess.Popen(
                [python, *COMMAND, *arguments],
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


def take_prepared(undisturbed: Project, project: Project) -> None:
    """What the local run has prepared, but for the last step of a batch."""
    leave = shutil.ignore_patterns(*METHODS, "logs")
    for name in ("results", ".snakemake"):
        shutil.copytree(undisturbed.folder / name, project.folder / name, ignore=leave)
    for last in ("normalized", "true_roi"):
        for path in (project.folder / "results" / last).glob("**/fold0-000"):
            shutil.rmtree(path)


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
    # What a failed test leaves behind need not end with its job.
    for process in processes_in(tmp_path):
        with suppress(psutil.NoSuchProcess):
            process.kill()


class Faults:
    """Each is done to another training, as soon as it has stored a state.

    It has come about once SLURM shows it: only then may the next one follow, which might hide it.
    """

    def __init__(self, project: Project, cluster: Cluster) -> None:
        self.project = project
        self.cluster = cluster
        self.hit: set[str] = set()

    def next_training(self) -> Training:
        training = wait_until(self._training, f"a training that is none of {self.hit}")
        self.hit.add(training.name)
        return training

    def _training(self) -> Training | None:
        for training in trainings_in(self.project.folder):
            if training.name not in self.hit and training.has_stored_a_state():
                return training
        return None

    def wait_for(self, training: Training, **told: str) -> None:
        """Wait until SLURM tells this of the training's job."""
        wait_until(
            lambda: all(self.cluster.told(training.job, n) == told[n] for n in told),
            f"{told} of job {training.job}, which trains {training.name}",
        )

    def node_down(self) -> None:
        training = self.next_training()
        running = self._processes()
        node = f"nodename={socket.gethostname().partition('.')[0]}"
        self.cluster.run("scontrol", "update", node, "state=down", "reason=test")
        self.wait_for(training, Restarts="1")
        # The daemon of the node, which is well, reports it back.
        wait_until(
            lambda: "down" not in self.cluster.run("sinfo", "--noheader", "--format=%T"), "node"
        )
        # All trainings of the node end with it, some a while after SLURM says so.
        wait_until(lambda: running.isdisjoint(self._processes()), "the end of all that ran on it")

    def _processes(self) -> set[int]:
        return {training.process.pid for training in trainings_in(self.project.folder)}

    def exceed_time(self) -> Training:
        """A training that does not stop by itself; SLURM ends it within two minutes."""
        training = self.next_training()
        training.process.suspend()
        self.cluster.run("scontrol", "update", f"jobid={training.job}", "timelimit=1")
        return training

    def requeue(self) -> None:
        training = self.next_training()
        # The node's end may have restarted it before.
        again = str(int(self.cluster.told(training.job, "Restarts")) + 1)
        self.cluster.run("scontrol", "requeue", training.job)
        self.wait_for(training, Restarts=again)

    def scancel(self) -> None:
        training = self.next_training()
        self.cluster.run("scancel", training.job)
        self.wait_for(training, JobState="CANCELLED")

    def kill_process(self) -> None:
        training = self.next_training()
        training.process.kill()
        self.wait_for(training, JobState="FAILED")

    def kill_step(self) -> None:
        training = self.next_training()
        self.cluster.run("scancel", "--signal=KILL", f"{training.job}.0")
        self.wait_for(training, JobState="FAILED")


def kill_main(runs: Runs, run: subprocess.Popen) -> subprocess.Popen:
    """Kill -9 of snakemake itself; then what its messages say, until it goes on."""
    preloaded = preloaded_python()
    cluster = runs.cluster
    folder = runs.project.folder
    wait_until(lambda: any(t.has_stored_a_state() for t in trainings_in(folder)), "a training")
    runs.kill(run)
    assert runs.start(*MODELS, python=preloaded).wait(300) == 1
    assert "LockException" in runs.says() and "--unlock" in runs.says()
    assert runs.start("--unlock", python=preloaded).wait(300) == 0
    before = set(cluster.jobs())
    assert runs.start(*MODELS, python=preloaded).wait(300) == 1
    (cancel,) = re.findall(r"`(scancel [\d ]+)`", runs.says())
    # Some may have ended meanwhile.
    assert set(cluster.jobs()) <= set(cancel.split()[1:]) <= before
    cluster.run(*cancel.split())
    wait_until(lambda: not cluster.jobs(), "the end of what was cancelled")
    return runs.start(*MODELS)


def test_every_fault_ends_with_the_same_models(undisturbed, runs, watch):
    project, cluster = runs.project, runs.cluster
    one = "(wildcards.method, wildcards.stage, wildcards.fold) == ('variant', 'whole', '0')"
    limits = {
        "runtime": f"1 if {one} else 30",
        "mem_mb": f"100 if {one} and attempt == 1 else 1500",
    }
    gpu_job = {"slurm_partition": "gpu", "gpu_model": "fake", "nodes": 1}
    write_profile(project, **{"set-resources": {"train": {**gpu_job, **limits}}})
    take_prepared(undisturbed, project)
    # No fault comes to these, so that it matters little how their programs start.
    prepare = runs.start(*MODELS, "--omit-from", "train", python=preloaded_python())
    assert prepare.wait(1800) == 0, runs.says()[-3000:]
    prepared = cluster.jobs("all")
    assert prepared
    run = kill_main(runs, runs.start(*MODELS))
    faults = Faults(project, cluster)
    faults.node_down()
    overdue = faults.exceed_time()
    faults.requeue()
    faults.scancel()
    faults.kill_process()
    faults.kill_step()
    faults.wait_for(overdue, JobState="TIMEOUT")
    assert run.wait(1800) == 0, runs.says()[-3000:]

    assert checksums(project, MODELS) == checksums(undisturbed, MODELS)
    for name in faults.hit:
        log = project.folder / f"results/logs/train/{name}.log"
        assert "going on after epoch" in log.read_text(), name
    # One had too little memory at first, and always too little time.
    logs = (project.folder / "results/logs/slurm/rule_train").glob("variant_whole_0/*.log")
    failed = [log.read_text() for log in logs]
    assert any("exceeded memory limit" in said for said in failed)
    assert any("stopped after epoch" in said and "CANCELLED" not in said for said in failed)
    # Nothing was done again.
    jobs = cluster.jobs("all")
    assert {job: jobs[job] for job in jobs if "rule_train" not in jobs[job]} == prepared
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
