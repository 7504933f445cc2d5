"""A fold: checkpoints after every epoch, going on from them, stopping in time, and what is left."""

import csv
import json
import os
import shutil
import time
from pathlib import Path
from unittest.mock import ANY

import pytest
from safetensors import safe_open

from renal.errors import InputError, Stopped
from renal.learn.histories import History, find_histories

from .conftest import PLANS

FOLDER = "Dataset001_renal/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_1"


@pytest.fixture
def trained(nnunet, tmp_path, monkeypatch):
    """A function that trains fold 1 for five epochs, and gives the lines of history.csv."""
    from renal.learn.nnunet.training import train

    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    (tmp_path / "nnUNetPlans.json").write_text(json.dumps(PLANS))
    (tmp_path / "dataset.json").write_text("{}")
    splits = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(splits))

    def work(**changes: object) -> list[dict[str, str]]:
        settings = {
            "planned": str(tmp_path),
            "configuration": "3d_fullres",
            "fold": 1,
            "output": str(tmp_path / "fold1"),
            "epochs": 5,
            "iterations": 250,
            "mirroring": True,
            "identity": "one",
            "name": "row fold 1",
            "until": None,
            "gpu": False,
            "threads": 1,
        }
        train(**settings | changes)
        with (tmp_path / "fold1/history.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    return work


def mirrored_axes(tmp_path: Path) -> list[int] | None:
    with safe_open(tmp_path / "fold1/model.safetensors", "pt") as model:
        assert set(model.keys()) == {"weight", "bias"}
        return json.loads(model.metadata()["mirrored_axes"])


@pytest.mark.parametrize(("compiler", "told"), [(None, "false"), ("/usr/bin/cc", None)])
def test_without_a_compiler_nothing_is_compiled(trained, monkeypatch, compiler, told):
    name = "nnUNet_compile"
    monkeypatch.setenv(name, "")  # so that it is as before after the test
    monkeypatch.delenv(name)
    monkeypatch.setattr(shutil, "which", lambda program: compiler)
    trained(epochs=1)
    assert os.environ.get(name) == told


def test_what_is_left(trained, tmp_path):
    history = trained()
    assert [row["loss"] for row in history] == ["1", "0.9", "0.8", "0.7", "0.6"]
    assert history[1] == {
        "epoch": "2",
        "learning_rate": "0.01",
        "loss": "0.9",
        "validation_loss": "1.9",
        "validation_dice": "0.1",
    }
    run = json.loads((tmp_path / "fold1/run.json").read_text())
    assert (run["cases"], run["held_out_cases"], run["seconds"]) == (["b"], ["a"], 45.0)
    assert mirrored_axes(tmp_path) == [0, 1, 2]
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {
        "checkpoint_final.pth",
        "identity.txt",
    }


def test_without_mirroring_prediction_mirrors_nothing_either(trained, tmp_path):
    trained(mirroring=False)
    assert mirrored_axes(tmp_path) is None


def test_it_stops_before_its_time_is_over_and_goes_on_to_the_same_end(trained, caplog):
    whole = trained()
    with pytest.raises(Stopped, match="row fold 1: stopped after epoch 1 of 5"):
        trained(until=time.time() + 10, identity="two")  # an epoch takes 9 s
    caplog.set_level("INFO")
    assert trained(identity="two") == whole
    assert "row fold 1: going on after epoch 1" in caplog.text


def test_what_is_told_of_a_running_training_is_the_beginning_of_its_history(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "row/nnunet"))
    with pytest.raises(Stopped):
        trained(until=time.time() + 10)
    (told,) = find_histories(tmp_path).items()
    (first, *_) = trained()
    assert told == ("row/nnunet/fold1", History([{k: float(v) for k, v in first.items()}], ANY, 9))


def test_a_finished_training_is_not_repeated(trained, tmp_path, monkeypatch):
    whole = trained()
    (tmp_path / "fold1/history.csv").unlink()
    from renal.learn.nnunet.training import nnUNetTrainer

    monkeypatch.delattr(nnUNetTrainer.__bases__[0], "run_training")
    assert trained() == whole


@pytest.mark.parametrize("fault", ["another identity", "no identity", "damaged"])
def test_checkpoints_that_cannot_be_used_are_not_gone_on_from(trained, tmp_path, caplog, fault):
    with pytest.raises(Stopped):
        trained(until=time.time() + 10)
    left = tmp_path / FOLDER
    (left / "training_log.txt").touch()
    if fault == "no identity":
        (left / "identity.txt").unlink()
    if fault == "damaged":
        latest = left / "checkpoint_latest.pth"
        latest.write_bytes(latest.read_bytes()[:100])
    caplog.set_level("INFO")
    assert len(trained(identity="other" if fault == "another identity" else "one")) == 5
    assert "going on" not in caplog.text
    assert ("checkpoint_latest.pth: cannot be used" in caplog.text) == (fault == "damaged")
    assert (left / "training_log.txt").exists() == (fault == "damaged")


def test_a_checkpoint_is_replaced_in_one_step(trained, tmp_path, monkeypatch):
    """A kill within a write leaves the checkpoint of the epoch before."""
    from renal.learn.nnunet.training import nnUNetTrainer

    base = nnUNetTrainer.__bases__[0]
    write = base.save_checkpoint

    def killed(self, filename: str) -> None:
        if self.current_epoch == 2:
            Path(filename).write_bytes(b"half")
            raise KeyboardInterrupt
        write(self, filename)

    monkeypatch.setattr(base, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        trained()
    monkeypatch.setattr(base, "save_checkpoint", write)
    monkeypatch.setattr(base, "__init__", counted(base.__init__, seen := []))
    assert len(trained()) == 5
    assert len(seen) == 1 and (tmp_path / FOLDER / "checkpoint_final.pth").exists()


def counted(function, seen: list):
    def call(*arguments):
        seen.append(arguments)
        return function(*arguments)

    return call


def test_a_loss_that_is_not_a_number_ends_it(trained, monkeypatch):
    from renal.learn.nnunet.training import nnUNetTrainer

    monkeypatch.setattr(
        nnUNetTrainer.__bases__[0],
        "run_training",
        lambda self: (self.logger.log("train_losses", float("nan"), 0), self.on_epoch_end()),
    )
    with pytest.raises(InputError, match="the loss of epoch 1 is not a number"):
        trained()
