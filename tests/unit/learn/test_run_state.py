"""Tests of the running state: trainings repeat, and survive being stopped and killed."""

import itertools
import logging
import os
import resource
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import renal
from renal.errors import InputError, Stopped
from renal.files import write_array
from renal.learn import launch, run_state, training
from renal.learn.datasets import Examples
from renal.learn.device import lay_channels_last
from renal.learn.optimizers import build_optimizer
from renal.learn.settings import Training
from tests.unit.learn import helpers
from tests.unit.learn.helpers import (
    EPOCHS,
    REMEMBERING,
    RESULTS,
    assert_same_bytes,
    read_history,
    read_run,
    train,
    training_settings,
)

pytestmark = pytest.mark.usefixtures("one_cpu_thread")

WORKFLOW = Path(renal.__file__).parents[1]


@pytest.fixture(autouse=True)
def heeded():
    """Signals are not ignored, as they are where a test run was started in the background."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def stop_in_epoch(monkeypatch, epoch: int, number: int = signal.SIGTERM) -> None:
    """Send this process a signal in the middle of an epoch, counted from 0."""
    original = training._epoch

    def interrupted(*arguments):
        if len(arguments[0].progress.history) == epoch:
            signal.raise_signal(number)
        return original(*arguments)

    monkeypatch.setattr(training, "_epoch", interrupted)


def count_epochs(monkeypatch) -> list[int]:
    """The epochs that are computed from here on, counted from 0."""
    epochs = []
    original = training._epoch

    def counted(*arguments):
        epochs.append(len(arguments[0].progress.history))
        return original(*arguments)

    monkeypatch.setattr(training, "_epoch", counted)
    return epochs


def stop_in_batch(monkeypatch, batch: int) -> None:
    """Send this process a signal in the middle of a batch, counted from 0 over all epochs."""
    original, batches = training.training_step, itertools.count()

    def interrupted(*arguments):
        if next(batches) == batch:
            signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(training, "training_step", interrupted)


def stopped_run(prepared: Path, output: Path, monkeypatch, **changes: object) -> None:
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1)
        with pytest.raises(Stopped):
            train(prepared, output, **changes)


# -- the same bytes again -------------------------------------------------------------------------


def test_a_second_run_gives_the_same_bytes(uninterrupted, prepared, tmp_path):
    train(prepared, tmp_path)
    assert_same_bytes(uninterrupted, tmp_path)


def test_another_seed_gives_another_model(uninterrupted, prepared, tmp_path):
    train(prepared, tmp_path, seed=6)
    first, second = (folder / "model.safetensors" for folder in (uninterrupted, tmp_path))
    assert first.read_bytes() != second.read_bytes()


def test_reading_ahead_changes_no_result(remembering, prepared, tmp_path, monkeypatch):
    def in_turn(examples, order, seed):
        generator, size = torch.Generator().manual_seed(seed), examples.settings.batch_size
        for start in range(0, len(order), size):
            part = order[start : start + size]
            yield part, *examples.batch(part, generator)

    monkeypatch.setattr(Examples, "batches", in_turn)
    train(prepared, tmp_path, **REMEMBERING)
    for name in (*RESULTS, "drawing.csv"):
        assert (remembering / name).read_bytes() == (tmp_path / name).read_bytes(), name


# -- stopped and killed ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    uninterrupted, prepared, tmp_path, monkeypatch, caplog, number
):
    caplog.set_level(logging.INFO, "renal")
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1, number)
        with pytest.raises(Stopped, match="stopped after epoch 2 of 4: run again"):
            train(prepared, tmp_path)
    assert signal.getsignal(number) is handler
    assert (tmp_path / "state.pt").exists()
    assert not any((tmp_path / name).exists() for name in (*RESULTS, "run.json"))
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path)
    assert "tiny: going on after epoch 2" in caplog.text
    assert epochs == [2, 3]
    assert_same_bytes(uninterrupted, tmp_path)
    assert not (tmp_path / "state.pt").exists()


def test_a_run_that_is_stopped_after_every_epoch(uninterrupted, prepared, tmp_path, monkeypatch):
    for epoch in range(EPOCHS - 1):
        with monkeypatch.context() as patch:
            stop_in_epoch(patch, epoch)
            with pytest.raises(Stopped):
                train(prepared, tmp_path)
    train(prepared, tmp_path)
    assert_same_bytes(uninterrupted, tmp_path)


def test_told_to_stop_in_the_last_epoch_a_run_finishes(
    uninterrupted, prepared, tmp_path, monkeypatch
):
    stop_in_epoch(monkeypatch, EPOCHS - 1)
    train(prepared, tmp_path)
    assert_same_bytes(uninterrupted, tmp_path)


def test_what_a_run_remembers_is_there_after_every_stop(
    remembering, prepared, tmp_path, monkeypatch
):
    history = read_history(remembering)
    assert len({row["learning_rate"] for row in history}) > 1
    # The best model lies in the state while later ones are tried.
    assert read_run(remembering)["kept_epoch"] < len(history)
    for epoch in range(len(history) - 1):
        with monkeypatch.context() as patch:
            stop_in_epoch(patch, epoch)
            with pytest.raises(Stopped):
                train(prepared, tmp_path, **REMEMBERING)
    train(prepared, tmp_path, **REMEMBERING)
    for name in (*RESULTS, "drawing.csv"):
        assert (remembering / name).read_bytes() == (tmp_path / name).read_bytes(), name
    assert read_run(tmp_path)["kept_epoch"] == read_run(remembering)["kept_epoch"]


@pytest.mark.parametrize("state_every_epoch", [False, True])
def test_an_epoch_that_takes_too_long_to_end_is_given_up(
    uninterrupted, prepared, tmp_path, monkeypatch, state_every_epoch
):
    with monkeypatch.context() as patch:
        patch.setattr(launch, "SECONDS_TO_END_AN_EPOCH", -1.0)
        if state_every_epoch:
            patch.setattr(training, "SECONDS_BETWEEN_STATES", 0.0)
        stop_in_batch(patch, 4)  # the first of two in the third epoch
        with pytest.raises(Stopped, match="stopped within epoch 3: run again"):
            train(prepared, tmp_path)
    # No state of half an epoch: at most that of the epoch before.
    assert (tmp_path / "state.pt").exists() == state_every_epoch
    assert not any((tmp_path / name).exists() for name in (*RESULTS, "run.json"))
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path)
    assert epochs == ([2, 3] if state_every_epoch else [0, 1, 2, 3])
    assert_same_bytes(uninterrupted, tmp_path)


def test_an_epoch_within_its_time_is_ended(prepared, tmp_path, monkeypatch):
    stop_in_batch(monkeypatch, 4)
    with pytest.raises(Stopped, match="stopped after epoch 3 of 4"):
        train(prepared, tmp_path)


def test_a_run_stops_before_its_time_is_over_and_goes_on(tmp_path, monkeypatch, prepared):
    monkeypatch.setattr(launch, "SECONDS_BEFORE_THE_LIMIT", 60.0)
    with pytest.raises(Stopped, match="after epoch 1"):
        train(prepared, tmp_path / "model", minutes=1)
    assert (tmp_path / "model/state.pt").exists()
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path / "model")
    assert epochs == [1, 2, 3]


KILLED = """
import json, logging, os, signal, sys
from pathlib import Path
from renal.learn import training
from renal.learn.launch import StopFlag
from renal.learn.memory import GpuMemory
from renal.learn.results import write_results
from renal.learn.settings import Training
from renal.learn.collapse import end_if_collapsed

training.torch.cuda.is_available = lambda: False
training.SECONDS_BETWEEN_STATES = 0.0
original = training._epoch

def killed(*arguments):
    if len(arguments[0].progress.history) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

training._epoch = killed
settings = Training.model_validate_json(sys.argv[3])
training.train([Path(sys.argv[1])], settings, Path(sys.argv[2]), seed=5, threads=1,
               bfloat16_on_cpu=False, name="tiny", stop=StopFlag(), write=write_results,
               memory=GpuMemory, watch=end_if_collapsed, code="")
"""


def test_a_killed_run_goes_on_to_the_same_bytes(
    uninterrupted, prepared, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "renal")
    settings = training_settings().model_dump_json()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(prepared), str(tmp_path), settings],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "state.pt").exists()
    assert not (tmp_path / "model.safetensors").exists()
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path)
    assert "tiny: going on after epoch 3" in caplog.text
    assert epochs == [3]
    assert_same_bytes(uninterrupted, tmp_path)


# -- on another device ----------------------------------------------------------------------------


def test_a_state_of_another_precision_is_continued_and_told(
    prepared, tmp_path, monkeypatch, caplog
):
    """As on a GPU of another kind: nobody's work is begun anew for that."""
    # A network that is not so deep that bfloat16 gives gradients that are no numbers.
    stopped_run(prepared, tmp_path / "stopped", monkeypatch, **helpers.VOLUMES)
    monkeypatch.setattr(
        training, "choose_device", lambda **_: (torch.device("cpu"), torch.bfloat16)
    )
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path / "stopped", **helpers.VOLUMES)
    assert epochs[0] > 0
    assert "begun in torch.float32, going on in torch.bfloat16" in caplog.text


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_steps_of_the_optimizer_stay_on_the_host(prepared, tmp_path):
    """On a GPU each would be waited for in every update."""
    settings = training_settings()
    run, examples = helpers.run_of(prepared, settings)
    training._epoch(run, examples, launch.StopFlag())
    run_state.write_state(tmp_path / "state.pt", "print", run.state())
    state = run_state.read_state(tmp_path / "state.pt", "print")
    other, _ = helpers.run_of(prepared, settings)
    other.network.to("meta")
    other.optimizer = build_optimizer(other.network, settings.optimizer)
    other.load(state)
    kept = other.optimizer.state.values()
    assert {value["exp_avg"].device.type for value in kept} == {"meta"}
    assert {value["step"].device.type for value in kept} == {"cpu"}


def test_what_the_optimizer_keeps_is_laid_out_as_its_parameters(prepared):
    """As where a training that began on a CPU goes on on a GPU: fused kernels take nothing else."""
    settings = training_settings()
    run, examples = helpers.run_of(prepared, settings)
    training._epoch(run, examples, launch.StopFlag())
    other, _ = helpers.run_of(prepared, settings)
    lay_channels_last(other.network)
    other.load(run.state())
    before = list(run.optimizer.state.values())
    for (parameter, kept), known in zip(other.optimizer.state.items(), before, strict=True):
        for key in ("exp_avg", "exp_avg_sq"):
            assert kept[key].stride() == parameter.stride()
            assert torch.equal(kept[key], known[key])


# -- states that must not be continued ------------------------------------------------------------


def test_a_state_of_other_settings_is_not_used(prepared, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "renal")
    change = {"optimizer": {"learning_rate": 1e-3}}
    train(prepared, tmp_path / "fresh", **change)
    stopped_run(prepared, tmp_path / "stopped", monkeypatch)
    train(prepared, tmp_path / "stopped", **change)
    assert "made with other settings, data or code: starting from the first epoch" in caplog.text
    assert "going on" not in caplog.text
    assert_same_bytes(tmp_path / "fresh", tmp_path / "stopped")


def test_a_state_outlives_a_schema_that_grows(
    uninterrupted, prepared, tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "renal")
    stopped_run(prepared, tmp_path / "stopped", monkeypatch)

    class Grown(Training):
        added: float | None = None

    monkeypatch.setattr(helpers, "Training", Grown)
    train(prepared, tmp_path / "stopped")
    assert "going on after epoch" in caplog.text
    assert_same_bytes(uninterrupted, tmp_path / "stopped")


@pytest.mark.parametrize("kind", ["case", "patient"])
def test_a_state_of_other_data_is_not_used(kind, tmp_path, monkeypatch, prepared):
    copy = tmp_path / "prepared"
    copy.mkdir()
    for path in prepared.iterdir():
        (copy / path.name.replace("case_", f"{kind}_")).write_bytes(path.read_bytes())
    index = (copy / "cases.json").read_text()
    (copy / "cases.json").write_text(index.replace("case_", f"{kind}_"))
    stopped_run(copy, tmp_path / "model", monkeypatch)
    label = np.load(copy / f"{kind}_0.0.label.npy")
    write_array(copy / f"{kind}_0.0.label.npy", label[::-1])
    epochs = count_epochs(monkeypatch)
    train(copy, tmp_path / "model")
    assert epochs == [0, 1, 2, 3]


def test_a_state_of_other_code_is_not_used(tmp_path, monkeypatch, prepared):
    stopped_run(prepared, tmp_path / "model", monkeypatch)
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path / "model", code="another")
    assert epochs == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["cut off", "empty", "text", "bit", "list", "program"])
def test_a_damaged_state_is_not_used(
    uninterrupted, prepared, tmp_path, monkeypatch, caplog, damage
):
    stopped_run(prepared, tmp_path, monkeypatch)
    state = tmp_path / "state.pt"
    if damage == "list":
        torch.save([1, 2], state)
    elif damage == "program":  # what could run code when it is loaded is refused
        torch.save({"fingerprint": print}, state)
    else:
        content = state.read_bytes()
        bit = bytearray(content)
        with zipfile.ZipFile(state) as archive:  # a bit of the largest tensor
            largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        bit[largest.header_offset + largest.file_size // 2 + 100] ^= 1
        damaged = {"cut off": content[:-2000], "empty": b"", "text": b"state", "bit": bit}
        state.write_bytes(damaged[damage])
    caplog.set_level(logging.WARNING, "renal")
    epochs = count_epochs(monkeypatch)
    train(prepared, tmp_path)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "cannot be used" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert epochs == [0, 1, 2, 3]
    assert_same_bytes(uninterrupted, tmp_path)


def test_states_are_not_written_more_often_than_they_are_worth(prepared, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(training, "write_state", lambda path, *_: written.append(path))
    train(prepared, tmp_path / "seldom")
    assert written == []
    monkeypatch.setattr(training, "SECONDS_BETWEEN_STATES", 0.0)
    train(prepared, tmp_path / "often")
    assert len(written) == EPOCHS - 1  # the last epoch ends in the model


# -- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [0.0, 60.0], ids=["state.pt", "model.safetensors"])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    prepared, tmp_path, monkeypatch, uninterrupted, between, request
):
    name = request.node.callspec.id
    monkeypatch.setattr(training, "SECONDS_BETWEEN_STATES", between)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, unlimited[1]))
    try:
        with pytest.raises(InputError, match=f"{name}: cannot be written .*free space"):
            train(prepared, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert {path.name for path in tmp_path.iterdir()} <= {"state.lock"}
    train(prepared, tmp_path)
    assert_same_bytes(uninterrupted, tmp_path)
