"""Histories of trainings, finished ones and such as still run."""

import json

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
