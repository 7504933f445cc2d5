"""What trainings have learned so far, finished ones and such as still run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from renal.errors import InputError
from renal.files import read_json
from renal.handover.tables import read_table
from renal.learn.nnunet.layout import DATASET, STAGE

# What nnU-Net's checkpoints call the columns that its training's history.csv will have.
OF_NNUNET = {
    "learning_rate": "lrs",
    "loss": "train_losses",
    "validation_loss": "val_losses",
    "validation_dice": "mean_fg_dice",
}
# What they hold beside weights and Python's own values.
NUMPY: list[Any] = [
    np.float32(0).__reduce__()[0],
    np.dtype,
    type(np.dtype("f4")),
    type(np.dtype("f8")),
]
LATEST = "checkpoint_latest.pth"


@dataclass(frozen=True)
class History:
    """The epochs of a training.

    Attributes
    ----------
    rows : list of dict
        Of each epoch, column of history.csv to value.
    ended : float
        When the last of them ended, in seconds since 1970, as far as that is known.
    seconds : float
        How long they took together.
    """

    rows: list[dict[str, float]]
    ended: float
    seconds: float


def find_histories(results: Path) -> dict[str, History]:
    """All trainings of a folder of results, by method, stage and fold, such as ``a/whole/fold0``.

    A training that runs has its history in its running state, which it stores once a minute, and
    one of nnU-Net's in its checkpoint, which it stores after every epoch.

    Raises
    ------
    InputError
        If there is none, or a file is damaged.
    """
    folders = {
        path.parent
        for name in ("history.csv", "state.pt")
        for path in results.glob(f"*/*/fold*/{name}")
    }
    folders |= {
        path.parents[3] / path.parent.name.replace("_", "")
        for path in results.glob(f"*/{STAGE}/{DATASET}/*/fold_*/{LATEST}")
    }
    if not folders:
        raise InputError(
            f"{results}: no training has left a history here yet: name the folder of results"
        )
    return {str(folder.relative_to(results)): _history(folder) for folder in sorted(folders)}


def _history(folder: Path) -> History:
    found = [folder / "history.csv", *_checkpoints(folder)]
    # nnU-Net's checkpoint of another configuration may lie there from long ago.
    newest = max((path for path in found if path.exists()), key=_changed, default=found[0])
    try:
        if newest.name == LATEST:
            return _running_nnunet(newest)
        return _running(folder / "state.pt")
    except FileNotFoundError:  # as when the training ends just now
        return _finished(folder)


def _checkpoints(folder: Path) -> list[Path]:
    """Those of a fold that nnU-Net trains, which lie in a folder of its own."""
    fold = folder.name.replace("fold", "fold_")
    return sorted(folder.parent.glob(f"{DATASET}/*/{fold}/{LATEST}"))


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _finished(folder: Path) -> History:
    path = folder / "history.csv"
    rows = read_table(path, ("epoch",)).to_dict("records")
    run = folder / "run.json"
    seconds = float(read_json(run)["seconds"]) if run.exists() else 0.0
    numbers = [{str(key): float(value) for key, value in row.items()} for row in rows]
    return History(numbers, path.stat().st_mtime, seconds)


def _running(state: Path) -> History:
    ended = _changed(state)
    with _told(state):
        progress = _loaded(state)["progress"]
        return History(list(map(_rounded, progress["history"])), ended, float(progress["seconds"]))


def _running_nnunet(checkpoint: Path) -> History:
    ended = _changed(checkpoint)
    with _told(checkpoint):
        told = _loaded(checkpoint)["logging"]
        curves = zip(*(told[key] for key in OF_NNUNET.values()), strict=True)
        rows = [
            _rounded({"epoch": epoch} | dict(zip(OF_NNUNET, values, strict=True)))
            for epoch, values in enumerate(curves, start=1)
        ]
        seconds = sum(told["epoch_end_timestamps"]) - sum(told["epoch_start_timestamps"])
        return History(rows, ended, float(seconds))


def _loaded(path: Path) -> dict[str, Any]:
    """A running state or checkpoint, whose weights stay on the disk."""
    with torch.serialization.safe_globals(NUMPY):
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return loaded


def _rounded(row: Mapping[str, float]) -> dict[str, float]:
    """In the digits of history.csv, so that a training's end changes nothing of its beginning."""
    return {key: float(f"{value:.6g}") for key, value in row.items()}


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Faults of a file in one line."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: damaged ({reason}): delete it, and the training begins anew"
        ) from error
