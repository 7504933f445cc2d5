"""Tests of what a training leaves: model, history, an account of the run, and hard examples."""

import csv
import math

import pytest
import torch
from safetensors.torch import load_file

from renal.errors import InputError
from renal.learn import results, training
from renal.learn.networks import build_network
from renal.learn.settings import Training
from tests.unit.learn.helpers import EPOCHS, read_history, read_run, train, training_settings

pytestmark = pytest.mark.usefixtures("one_cpu_thread")


def test_results(uninterrupted, prepared):
    assert sorted(path.name for path in uninterrupted.iterdir()) == [
        "history.csv",
        "model.safetensors",
        "run.json",
        "state.lock",
    ]
    history = read_history(uninterrupted)
    assert list(history[0]) == [
        *("epoch", "learning_rate", "loss", "dice"),
        *("foreground", "gradient_norm"),
    ]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    network = build_network(training_settings().network, 1, "kidney")
    network.load_state_dict(load_file(uninterrupted / "model.safetensors"))


def test_run_record(uninterrupted, prepared):
    run = read_run(uninterrupted)
    assert set(run) == {
        "finished",
        "seconds",
        "epochs",
        "kept_epoch",
        "cases",
        "validation_cases",
        "seed",
        "settings",
        "prepared",
        "fingerprint",
        "commit",
        "parameters",
        "device",
        "processes",
        "threads",
        "peak_memory_mb",
        "python",
        "torch",
    }
    assert run["epochs"] == EPOCHS
    assert run["kept_epoch"] == EPOCHS
    assert run["cases"] == ["case_0", "case_1", "case_2"]
    assert run["validation_cases"] == []
    assert run["prepared"] == f"{prepared.parent.parent.name}/{prepared.parent.name}"
    assert run["seed"] == 5
    assert run["processes"] == run["threads"] == 1
    assert run["torch"] == torch.__version__
    assert run["seconds"] > 0
    assert run["peak_memory_mb"] > 0
    weights = load_file(uninterrupted / "model.safetensors")
    assert run["parameters"] == sum(weight.numel() for weight in weights.values())
    assert Training.model_validate(run["settings"]) == training_settings()


def test_hard_drawing_says_how_hard_its_examples_were(remembering, prepared):
    with (remembering / "drawing.csv").open() as stream:
        drawn = list(csv.DictReader(stream))
    assert list(drawn[0]) == ["case", "place", "case_dice", "dice", "weight"]
    learned = read_run(remembering)["cases"]
    assert [row["case"] for row in drawn] == [name for name in learned for _ in range(2)]
    assert any(float(row["dice"]) > 0 for row in drawn)
    assert {row["weight"] for row in drawn} != {"1.0000"}
    assert len({(row["case"], row["weight"]) for row in drawn}) == len(learned)


def test_only_hard_drawing_has_something_to_say(uninterrupted):
    assert not (uninterrupted / "drawing.csv").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_last_update_that_is_no_number_leaves_no_model(prepared, tmp_path, monkeypatch, value):
    original = training.training_step

    def spoilt(run, *arguments):
        result = original(run, *arguments)
        with torch.no_grad():
            next(run.network.parameters()).view(-1)[0] = value
        return result

    monkeypatch.setattr(training, "training_step", spoilt)
    with pytest.raises(InputError, match="parameters are not numbers") as error:
        train(prepared, tmp_path, epochs=1, batch_size=3)
    assert str(error.value).startswith(f"{tmp_path}: ")
    assert "lower the learning rate" in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["state.lock"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (-100, "had found next to nothing of a region (Dice 0.000) when it ended"),
        (100, "took 100% of the voxels for foreground when it ended"),
    ],
)
def test_a_training_that_ends_without_having_learned_anything_says_so(
    prepared, tmp_path, monkeypatch, caplog, value, told
):
    original = training.training_step

    def blind(*arguments):
        loss, gradient, outputs = original(*arguments)
        return loss, gradient, tuple(0 * logits + value for logits in outputs)

    monkeypatch.setattr(training, "training_step", blind)
    train(prepared, tmp_path, epochs=1)
    assert f"{tmp_path}: the training {told}: train longer, or in config.yaml's" in caplog.text
    assert (tmp_path / "model.safetensors").exists()


def test_the_commit_is_left_out_where_there_is_no_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert results._commit() is None
