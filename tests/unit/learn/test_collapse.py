"""Trainings that learn nothing any more end, in one line; others go on."""

import logging
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from renal.errors import InputError
from renal.learn import training
from renal.learn.collapse import end_if_collapsed, tell_if_nothing_was_learned
from renal.learn.run import NOTED
from renal.learn.run_state import Progress
from tests.unit.learn.helpers import read_history, train, train_with, training_settings

pytestmark = pytest.mark.usefixtures("one_cpu_thread")

HEALTHY = {
    **{"loss": 0.8, "gradient": 1.0, "dice": 0.2, "lowest_dice": 0.2},
    **{"foreground": 0.1, "spread": 0.9},
}
SIGNS = {
    "prediction": ({"spread": 0.009, "foreground": 1.0}, "same everywhere (100% foreground)"),
    "foreground": ({"foreground": 1.0}, "all was taken for foreground (100.0%)"),
    "gradient": ({"gradient": 3e-8}, "gradient had vanished (norm 3e-08)"),
    "loss": ({"loss": 1.0}, "stood at its worst (1.0000)"),
}


def run_after(*epochs: list[dict[str, float]], **changes: object) -> SimpleNamespace:
    """A run whose epochs had these steps, each of them looked at."""
    settings = training_settings(collapse_steps=6, **changes)
    progress = Progress(collapse={"highest loss": 0.95})
    run = SimpleNamespace(progress=progress, settings=settings)
    for steps in epochs:
        run.steps = {name: [(HEALTHY | step)[name] for step in steps] for name in NOTED}
        last = HEALTHY | steps[-1]
        row = {"loss": last["loss"], "foreground": last["foreground"]}
        run.progress.history.append(row | {"gradient_norm": last["gradient"]})
        run.progress.epoch += 1
        end_if_collapsed(run, Path("model"))
    return run


@pytest.mark.parametrize("sign", SIGNS)
def test_each_sign_is_counted_over_steps_and_epochs(sign):
    step, told = SIGNS[sign]
    run = run_after([{}, step], [step] * 4)
    assert run.progress.collapse[sign] == 5
    with pytest.raises(InputError) as error:
        run_after([{}, step], [step] * 4, [step])
    assert told in str(error.value) and "6 steps up to epoch 3" in str(error.value)
    assert "\n" not in str(error.value) and str(error.value).startswith("model: ")
    # One step that teaches something, and it is counted anew.
    assert run_after([step] * 5 + [{"loss": 0.7}] + [step] * 5).progress.collapse[sign] == 5


@pytest.mark.parametrize("sign", SIGNS)
def test_what_was_found_rightly_does_not_count(sign):
    """A window without kidney in which none is found has no gradient and nothing to tell apart."""
    step, right = SIGNS[sign][0], {"dice": 1.0, "lowest_dice": 1.0}
    assert run_after([step | right] * 50).progress.collapse.get(sign, 0) == 0
    run = run_after([step, step | right] * 5)
    assert run.progress.collapse[sign] == 5


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([{"dice": 0.45, "lowest_dice": 0.0}], "found next to nothing of a region (Dice 0.000)"),
        ([{"lowest_dice": 1.0}, {"lowest_dice": 0.0}], "found next to nothing of a region"),
        ([{"foreground": 1.0}], "took 100% of the voxels for foreground"),
        ([{}], ""),
        ([{"lowest_dice": 0.0}, {"lowest_dice": 0.1}], ""),
        ([{"foreground": 0.0, "lowest_dice": 1.0}], ""),
    ],
)
def test_a_training_that_ends_without_having_learned_is_told_of(steps, told, caplog):
    """Of one map beside a living one, too; windows without kidney, of which none was found, not."""
    tell_if_nothing_was_learned(run_after([{"lowest_dice": 0.0}], steps), Path("model"))
    assert (told in caplog.text) if told else not caplog.text


def test_the_line_names_what_the_recipe_has():
    plain = {"normalization": "none", "dropout": 0.3}
    for network, told in (
        (plain, "set network.normalization to instance or lower optimizer.learning_rate or lower"),
        ({"normalization": "instance", "dropout": 0}, "training lower optimizer.learning_rate"),
    ):
        with pytest.raises(InputError) as error:
            run_after([{"spread": 0.0}] * 6, network=network)
        assert told in str(error.value)
        assert ("network.dropout" in str(error.value)) == bool(network["dropout"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training(prepared, tmp_path, monkeypatch, value):
    original = training.training_loss
    monkeypatch.setattr(training, "training_loss", lambda *a: original(*a) * value)
    with pytest.raises(InputError, match="the loss of epoch 1 is not a number") as error:
        train(prepared, tmp_path)
    assert "lower the learning rate" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "state.pt").exists()


def saturated(network: torch.nn.Module) -> None:
    """All is foreground, so surely that no gradient is left."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(200 if name.endswith("head.bias") else 0)


def test_a_dead_training_ends_and_leaves_no_model(prepared, tmp_path, monkeypatch, caplog):
    """Two steps an epoch; a run that goes on counts on, from the state of the epoch before."""
    caplog.set_level(logging.INFO, "renal")
    monkeypatch.setattr(training, "SECONDS_BETWEEN_STATES", 0.0)
    dead = training_settings(epochs=50, collapse_steps=10)
    for _ in range(2):
        with pytest.raises(InputError, match="same everywhere") as error:
            train_with(dead, prepared, tmp_path, pretrain=saturated)
        assert "10 steps up to epoch 5 " in str(error.value)
        assert not list(tmp_path.glob("model*")) and not list(tmp_path.glob("history*"))
    assert "going on after epoch 4" in caplog.text


def test_a_living_training_has_no_step_that_counts(prepared, tmp_path):
    train(prepared, tmp_path, epochs=6, collapse_steps=2)
    assert len(read_history(tmp_path)) == 6
