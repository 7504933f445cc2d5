"""A training by nnU-Net on a real SLURM, where nnU-Net is installed."""

import re
import subprocess
import sys

import pytest

from renal.data.phantom import write_phantom
from renal.recipe import merged

from ..workflow.conftest import make_project, small_configuration
from ..workflow.test_nnunet import small_row
from .conftest import wait_until, write_profile

MODEL = "results/demo/nnunet/nnunet/fold0/model.safetensors"
EPOCHS = 12


@pytest.mark.slow
def test_a_training_goes_on_after_a_kill_and_a_time_limit(cluster, tmp_path):
    configuration = {"methods": ["resvnet", "nnunet"]} | small_row(epochs=EPOCHS, iterations=20)
    project = make_project(tmp_path, merged(small_configuration(), configuration))
    write_phantom(tmp_path / "results/demo/data", labelled=4, unlabelled=0, size=64)
    project.edit_code("SECONDS_BEFORE_THE_LIMIT = 120.0\n", "SECONDS_BEFORE_THE_LIMIT = 30.0\n")
    # Without a GPU, and with no more than a minute and a half in a job.
    resources = {"nodes": 1, "gpu": 0, "slurm_partition": "cpu", "runtime": 2, "mem_mb": 4000}
    write_profile(project, **{"set-resources": {"train_nnunet": resources}})
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "8", "--profile", "slurm", MODEL],
        cwd=tmp_path,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def training() -> str | None:
        assert run.poll() is None, run.stdout.read()[-3000:]
        jobs = cluster.jobs("RUNNING")
        return next((job for job, rule in jobs.items() if "train_nnunet" in rule), None)

    first = wait_until(training, "the training to start")
    checkpoints = "results/demo/nnunet/nnunet/Dataset*/*/fold_0/checkpoint_latest.pth"
    wait_until(lambda: list(tmp_path.glob(checkpoints)), "its first epoch")
    cluster.run("scancel", "--signal=KILL", "--full", first)
    said, _ = run.communicate(timeout=900)
    assert run.returncode == 0, said[-3000:]
    # Its own log is that of the last job, and SLURM's are kept of those that failed.
    logs = [tmp_path / "results/demo/logs/train/nnunet-nnunet-fold0.log"]
    logs += tmp_path.glob("results/logs/slurm/rule_train_nnunet/**/*.log")
    told = "".join(path.read_text() for path in logs)
    resumed = {int(n) for n in re.findall(r"nnunet fold 0: going on after epoch (\d+)", told)}
    stopped = {int(n) for n in re.findall(r"stopped after epoch (\d+) of", told)}
    assert stopped and stopped < resumed  # the other one was killed
    history = (tmp_path / MODEL).with_name("history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history[1:]] == [str(n + 1) for n in range(EPOCHS)]
