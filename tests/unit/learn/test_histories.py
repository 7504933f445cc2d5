"""Histories of trainings, finished ones and such as still run."""

import json
import os

import numpy as np
import pytest
import torch

from renal.errors import InputError
from renal.learn.histories import find_histories

ROW = {"epoch": 1.0, "learning_rate": 0.01, "loss": 0.7654321987, "dice": 0.5}


def finished(folder, rows=2):
    folder.mkdir(parents=True)
    lines = [f"{epoch},0.01,0.765432,0.5" for epoch in range(1, rows + 1)]
    (folder / "history.csv").write_text("\n".join(["epoch,learning_rate,loss,dice", *lines]) + "\n")
    (folder / "run.json").write_text(json.dumps({"seconds": 20.0}))


def running(folder, rows=1):
    folder.mkdir(parents=True, exist_ok=True)
    progress = {"epoch": rows, "seconds": 12.0, "kept": 0, "history": [ROW] * rows}
    torch.save({"fingerprint": "", "progress": progress, "network": {}}, folder / "state.pt")


def test_finished_and_running_trainings_are_found(tmp_path):
    finished(tmp_path / "a/whole/fold0")
    running(tmp_path / "a/whole/fold1")
    found = find_histories(tmp_path)
    assert list(found) == ["a/whole/fold0", "a/whole/fold1"]
    assert [row["epoch"] for row in found["a/whole/fold0"].rows] == [1, 2]
    assert found["a/whole/fold0"].seconds == 20
    assert found["a/whole/fold1"].seconds == 12


def test_a_running_training_has_the_digits_that_it_will_have_when_it_is_finished(tmp_path):
    finished(tmp_path / "a/whole/fold0", rows=1)
    running(tmp_path / "a/whole/fold1")
    one, other = find_histories(tmp_path).values()
    assert one.rows == other.rows


def test_a_training_that_runs_again_is_told_by_its_state(tmp_path):
    finished(tmp_path / "a/whole/fold0", rows=5)
    running(tmp_path / "a/whole/fold0")
    assert len(find_histories(tmp_path)["a/whole/fold0"].rows) == 1


def checkpoint(folder, configuration="3d_fullres"):
    """What nnU-Net 2.8.1 left of a training of the phantom, in part; returns its path."""
    path = folder / f"Dataset001_renal/nnUNetTrainer__nnUNetPlans__{configuration}/fold_0"
    path.mkdir(parents=True)
    logging = {
        "mean_fg_dice": [np.float32(0.022306569)],
        "ema_fg_dice": [np.float64(0.022306569)],
        "dice_per_class_or_region": [[np.float32(0.03716435), np.float32(0.0074487897)]],
        "train_losses": [np.float32(0.8104224)],
        "val_losses": [np.float32(0.7551836)],
        "lrs": [0.01],
        "epoch_start_timestamps": [1795925318.0],
        "epoch_end_timestamps": [1795925325.5],
    }
    weights = {"encoder.weight": torch.zeros(3)}
    torch.save({"network_weights": weights, "logging": logging}, path / "checkpoint_latest.pth")
    return path / "checkpoint_latest.pth"


def test_a_training_that_nnunet_runs_is_told_by_its_checkpoint(tmp_path):
    checkpoint(tmp_path / "row/nnunet")
    ((name, found),) = find_histories(tmp_path).items()
    assert (name, found.seconds) == ("row/nnunet/fold0", 7.5)
    assert found.rows == [
        {
            "epoch": 1,
            "learning_rate": 0.01,
            "loss": 0.810422,
            "validation_loss": 0.755184,
            "validation_dice": 0.0223066,
        }
    ]


def test_the_newest_of_nnunets_trainings_counts(tmp_path):
    """A checkpoint of another configuration, which was given up, is passed over."""
    left = checkpoint(tmp_path / "row/nnunet", "2d")
    finished(tmp_path / "row/nnunet/fold0", rows=5)
    os.utime(left, (1000, 1000))
    assert len(find_histories(tmp_path)["row/nnunet/fold0"].rows) == 5
    later = checkpoint(tmp_path / "row/nnunet")
    os.utime(tmp_path / "row/nnunet/fold0/history.csv", (2000, 2000))
    assert len(find_histories(tmp_path)["row/nnunet/fold0"].rows) == 1
    later.write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"checkpoint_latest.pth: damaged .* begins anew"):
        find_histories(tmp_path)


def test_no_training_and_damaged_ones_are_told(tmp_path):
    with pytest.raises(InputError, match="no training has left a history"):
        find_histories(tmp_path)
    folder = tmp_path / "a/whole/fold0"
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("")
    with pytest.raises(InputError, match="missing or damaged"):
        find_histories(tmp_path)
    (folder / "state.pt").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match="the training begins anew"):
        find_histories(tmp_path)


def test_a_training_that_ends_while_its_state_is_read_is_finished(tmp_path, monkeypatch):
    finished(tmp_path / "a/whole/fold0", rows=5)
    running(tmp_path / "a/whole/fold0")

    def gone(path, **_):
        raise FileNotFoundError(path)

    monkeypatch.setattr(torch, "load", gone)
    assert len(find_histories(tmp_path)["a/whole/fold0"].rows) == 5
