"""Which fold and batch each case belongs to.

Read while the workflow is planned.
"""

import csv
import io
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from renal.data.cases import CASE_NAME, Case
from renal.errors import InputError
from renal.files import read_text, write_text


@dataclass(frozen=True)
class Place:
    """Where a case belongs.

    Attributes
    ----------
    name : str
        The case.
    fold : int or None
        The fold that holds the case out; None for an unlabelled case.
    batch : str
        The batch that prepares it. A batch never crosses folds.
    """

    name: str
    fold: int | None
    batch: str


def assign(
    cases: Iterable[Case],
    *,
    folds: int,
    seed: int,
    batch_size: int,
    known: Iterable[Place] = (),
) -> list[Place]:
    """Give every case its fold and batch, keeping what was given before.

    Parameters
    ----------
    cases : iterable of Case
        From `find_cases`.
    folds, seed, batch_size : int
        Number of folds, seed of the deal, and the most cases in a batch.
    known : iterable of Place
        Earlier assignments. They stand, so that adding a case moves no other.

    Returns
    -------
    list of Place
        One for each of `cases`, in order of name.

    Raises
    ------
    InputError
        If there are fewer labelled cases than folds, or a fold has lost all of its cases.
    """
    has_label = {case.name: case.labelled for case in cases}
    labelled = sum(has_label.values())
    if labelled < folds:
        raise InputError(
            f"config.yaml: folds.count is {folds}, but only {labelled} labelled cases were found: "
            "add cases or lower folds.count"
        )
    placed = {place.name: place for place in known}
    for name, label in has_label.items():
        if name in placed and (placed[name].fold is not None) != label:
            del placed[name]
    fold_sizes = dict.fromkeys(range(folds), 0)
    batch_sizes: dict[str, int] = defaultdict(int)
    for place in placed.values():
        batch_sizes[place.batch] += 1
        if place.fold is not None:
            fold_sizes[place.fold] += 1
    new = [name for name in sorted(has_label) if name not in placed]
    random.Random(seed).shuffle(new)
    fold_of: dict[str, int | None] = dict.fromkeys(new)
    for name in new:
        if has_label[name]:
            smallest = min(fold_sizes, key=lambda fold: (fold_sizes[fold], fold))
            fold_of[name] = smallest
            fold_sizes[smallest] += 1
    for name in sorted(new):
        batch = _batch_with_room(fold_of[name], batch_sizes, batch_size)
        batch_sizes[batch] += 1
        placed[name] = Place(name, fold_of[name], batch)
    assigned = [placed[name] for name in sorted(has_label)]
    for fold in sorted(set(fold_sizes) - {place.fold for place in assigned}):
        raise InputError(
            f"config.yaml: fold {fold} has no case left: exclude fewer, or delete folds.csv in the "
            "results folder to deal the folds anew"
        )
    return assigned


def _batch_with_room(fold: int | None, sizes: dict[str, int], batch_size: int) -> str:
    prefix, number = _batch_prefix(fold), 0
    while sizes[f"{prefix}-{number:03d}"] >= batch_size:
        number += 1
    return f"{prefix}-{number:03d}"


def _batch_prefix(fold: int | None) -> str:
    return "unlabelled" if fold is None else f"fold{fold}"


def read_assignments(path: Path, *, folds: int, seed: int, batch_size: int) -> list[Place]:
    """Read what `write_assignments` stored; nothing where there is no such file.

    With another `batch_size` the cases keep their folds and are put into new batches.

    Raises
    ------
    InputError
        If the file is damaged or was made with another number of folds or another seed.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        settings, _, table = read_text(path).partition("\n")
        stored = dict(re.findall(r"(\w+)=(-?\d+)", settings))
        if (stored["folds"], stored["seed"]) != (str(folds), str(seed)):
            raise InputError(
                f"{path}: was dealt with {settings.removeprefix('# ')}, but config.yaml asks for "
                f"folds={folds} seed={seed}: restore these values, or delete the file to deal the "
                "folds, and train every model, anew"
            )
        same_batches = stored["batch_size"] == str(batch_size)
        places = [
            _place_from(row, int(stored["folds"])) for row in csv.DictReader(io.StringIO(table))
        ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: damaged ({error}): restore it, or delete it to deal the folds anew"
        ) from error
    if same_batches:
        return places
    sizes: dict[str, int] = defaultdict(int)
    moved = []
    for place in sorted(places, key=lambda place: place.name):
        batch = _batch_with_room(place.fold, sizes, batch_size)
        sizes[batch] += 1
        moved.append(Place(place.name, place.fold, batch))
    return moved


def _place_from(row: dict[str, str], folds: int) -> Place:
    """The place in a row of the stored table; ValueError or the like if it cannot be one."""
    fold = int(row["fold"]) if row["fold"] else None
    batch = re.fullmatch(rf"{_batch_prefix(fold)}-\d+", row["batch"])
    if not CASE_NAME.fullmatch(row["case"]) or fold not in (None, *range(folds)) or not batch:
        raise ValueError(f"row {','.join(row.values())}")
    return Place(row["case"], fold, row["batch"])


def write_assignments(
    path: Path, places: Iterable[Place], *, folds: int, seed: int, batch_size: int
) -> None:
    """Store the assignment as CSV, one row a case; unchanged files are left alone.

    Cases that were stored before and are no longer there keep their rows, so that excluding a
    case for one run does not deal its place to another.
    """
    settings = {"folds": folds, "seed": seed, "batch_size": batch_size}
    rows = {place.name: place for place in read_assignments(path, **settings)}
    rows.update({place.name: place for place in places})
    text = io.StringIO()
    text.write(_settings_line(**settings) + "\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "fold", "batch"])
    for name in sorted(rows):
        fold = rows[name].fold
        writer.writerow([name, "" if fold is None else fold, rows[name].batch])
    path = Path(path)
    if not path.exists() or path.read_text(encoding="utf-8") != text.getvalue():
        write_text(path, text.getvalue())


def _settings_line(folds: int, seed: int, batch_size: int) -> str:
    return f"# folds={folds} seed={seed} batch_size={batch_size}"
