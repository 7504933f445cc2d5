"""Two processes train as one: the same curve, the same model, one set of files."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import renal
from renal.handover.seals import write_seal
from renal.learn import distributed
from renal.learn.distributed import shares_of
from renal.learn.settings import Training
from tests.unit.learn.helpers import read_history, read_run, train_with, write_blocks

WORKFLOW = Path(renal.__file__).parents[1]
# What rounding makes of sums that are added up in another order, over the epochs of these tests.
TOLERANCE = 1e-4
SETTINGS = {
    "target": "kidney",
    "sampler": {"name": "volume"},
    "network": {
        "name": "res_vnet_cascade",
        "width": 2,
        "dropout": 0,
        "normalization": "none",
    },
    "loss": {"name": "dice", "squared": True},
    "optimizer": {"name": "adam", "learning_rate": 1e-3},
    "schedule": {"name": "constant"},
    "epochs": 3,
    "batch_size": 4,
    "validation": {"share": 0.3, "keep": "best"},
    "augmentation": [{"name": "flip", "probability": 0.5}],
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Seven cases: five to learn from, so that the last batch is a single one, and two to watch."""
    folder = write_blocks(tmp_path_factory.mktemp("seven"), 7, seed=1)
    write_seal(folder)
    return folder


def train_by_two(prepared, output, minutes=None, beside=WORKFLOW, **changes):
    settings = Training.model_validate(SETTINGS | changes)
    arguments = ["train", "--prepared", prepared, "--settings", settings.model_dump_json()]
    arguments += ["--seed", "3", "--name", "tiny", "--output", output]
    arguments += ["--log", output.with_suffix(".log")]
    if minutes is not None:
        arguments += ["--minutes", str(minutes)]
    # On a machine without GPUs a training has one process, whatever its recipe says.
    program = "from renal.learn.launch import start_processes as start; "
    program += "start(2)"
    hidden = {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": f"{WORKFLOW}{os.pathsep}{beside}"}
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=os.environ | hidden,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_two_processes_learn_what_one_learns(prepared, tmp_path, one_cpu_thread):
    """They also stop together when their time is over, none waiting for the other, and go on."""
    one, two = tmp_path / "one", tmp_path / "two"
    train_with(Training.model_validate(SETTINGS), prepared, one, seed=3)
    stopped = train_by_two(prepared, two, minutes=2)  # two minutes before the limit it stops
    assert stopped.returncode == 1
    # On a busy machine the first epoch takes longer than what it is given to end.
    assert re.search("stopped (after|within) epoch 1", two.with_suffix(".log").read_text())
    finished = train_by_two(prepared, two)
    assert finished.returncode == 0, finished.stderr
    rows, expected = read_history(two), read_history(one)
    assert len(rows) == len(expected) == 3
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys() >= {"loss", "validation_loss"}
        for key in ("loss", "validation_loss"):
            assert row[key] == pytest.approx(other[key], rel=TOLERANCE)
    weights, others = (load_file(folder / "model.safetensors") for folder in (two, one))
    assert weights.keys() == others.keys()
    for key, weight in weights.items():
        np.testing.assert_allclose(weight, others[key], atol=TOLERANCE)
    assert read_run(two)["processes"] == 2
    # One process speaks for both.
    assert two.with_suffix(".log").read_text().count("epoch 3/3") == 1


# What Python runs as it starts: the second process finds a fault in its first step.
FAULT = """
import os, sys
def fails(*_):
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
if os.environ.get("RANK") == "1":
    from renal.learn import training
    training.training_step = fails
"""


def test_a_fault_of_one_process_is_told_and_ends_the_others(prepared, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(FAULT)
    ended = train_by_two(prepared, tmp_path / "two", beside=tmp_path)
    assert ended.returncode == 1
    told = (tmp_path / "two.log").read_text()
    assert "process 1: internal error: RuntimeError: CUDA error: an illegal" in told
    assert not (tmp_path / "two/model.safetensors").exists()


def test_two_processes_end_together_where_they_learn_nothing(prepared, tmp_path):
    """At such a rate one step saturates every probability."""
    wild = {"optimizer": {"name": "adam", "learning_rate": 0.3}, "epochs": 50, "collapse_steps": 3}
    ended = train_by_two(prepared, tmp_path / "two", **wild)
    assert ended.returncode == 1
    told = (tmp_path / "two.log").read_text()
    assert told.count("the training has collapsed") == 1
    assert not (tmp_path / "two/model.safetensors").exists()


@pytest.mark.parametrize(("is_cuda", "kind"), [(True, nn.SyncBatchNorm), (False, nn.BatchNorm3d)])
def test_on_gpus_batches_are_normalized_as_a_whole(monkeypatch, is_cuda, kind):
    class Network(nn.Sequential):
        def parameters(self, recurse=True):
            yield SimpleNamespace(is_cuda=is_cuda)

    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda network: network)
    replica = distributed.SharedBatches(Network(nn.BatchNorm3d(2))).replica
    assert type(replica[0]) is kind


@pytest.mark.parametrize(
    ("count", "processes", "shares"),
    [(4, 2, [2, 2]), (3, 2, [2, 1]), (7, 4, [2, 2, 2, 1]), (1, 2, [1, 0])],
)
def test_no_image_is_computed_twice(count, processes, shares):
    """Batch normalisation counts each."""
    assert shares_of(count, processes) == shares


def test_of_too_few_images_for_all_the_outputs_of_the_first_process_count(monkeypatch):
    """Another GPU may round otherwise: with outputs of its own the processes would part ways."""

    def gathered(parts, mine):
        parts[0].copy_(mine + 1)
        parts[1].copy_(mine)

    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda network: network)
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed.distributed, "all_gather", gathered)

    class Network(nn.Conv3d):
        def forward(self, images):
            return (super().forward(images),)

    shared, image = distributed.SharedBatches(Network(1, 1, 1)), torch.ones(1, 1, 2, 2, 2)
    (output,) = shared(image)
    assert torch.equal(output, shared.network(image)[0] + 1)
    output.sum().backward()  # it takes part in the sum of gradients, with none of its own
    assert all(not p.grad.any() for p in shared.parameters())
