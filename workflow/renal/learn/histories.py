"""What trainings have learned so far, finished ones and such as still run."""

from dataclasses import dataclass
from pathlib import Path

import torch

from renal.errors import InputError
from renal.files import read_json
from renal.handover.tables import read_table


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

    A training that runs has its history in its running state, which it stores once a minute.

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
    if not folders:
        raise InputError(
            f"{results}: no training has left a history here yet: name the folder of results"
        )
    return {str(folder.relative_to(results)): _history(folder) for folder in sorted(folders)}


def _history(folder: Path) -> History:
    state = folder / "state.pt"
    try:
        return _running(state)
    except FileNotFoundError:  # as when the training ends just now
        return _finished(folder)


def _finished(folder: Path) -> History:
    path = folder / "history.csv"
    rows = read_table(path, ("epoch",)).to_dict("records")
    run = folder / "run.json"
    seconds = float(read_json(run)["seconds"]) if run.exists() else 0.0
    numbers = [{str(key): float(value) for key, value in row.items()} for row in rows]
    return History(numbers, path.stat().st_mtime, seconds)


def _running(state: Path) -> History:
    ended = state.stat().st_mtime
    try:
        # Weights stay on the disk.
        progress = torch.load(state, map_location="cpu", weights_only=True, mmap=True)["progress"]
        # In the digits of history.csv, so that a training's end changes nothing of its beginning.
        rows = [{k: float(f"{v:.6g}") for k, v in row.items()} for row in progress["history"]]
        return History(rows, ended, float(progress["seconds"]))
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{state}: damaged ({reason}): delete it, and the training begins anew"
        ) from error
