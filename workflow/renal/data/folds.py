"""Which fold and batch each case belongs to.

Read while the workflow is planned.
"""

import csv
import io
import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from renal.data.cases import SAFE_NAME, Case
from renal.errors import InputError
from renal.files import read_text, write_text

# What batches of cases without a fold are called.
TEST, UNLABELLED = "test", "unlabelled"
COLUMNS = ("case", "fold", "batch")


@dataclass(frozen=True)
class Place:
    """Where a case belongs.

    Attributes
    ----------
    name : str
        The case.
    fold : int or None
        The fold that holds the case out; None for a test and for an unlabelled case.
    batch : str
        The batch that prepares it. A batch never crosses folds.
    """

    name: str
    fold: int | None
    batch: str

    @property
    def labelled(self) -> bool:
        """Whether the case had a label when it was dealt: it is in a fold, or a test."""
        return self.batch.partition("-")[0] != UNLABELLED


def assign(
    cases: Iterable[Case],
    *,
    folds: int,
    seed: int,
    batch_size: int,
    known: Iterable[Place] = (),
    groups: Mapping[str, str] | None = None,
) -> list[Place]:
    """Give every case its fold and batch, keeping what was given before.

    Parameters
    ----------
    cases : iterable of Case
        From `find_cases`.
    folds, seed, batch_size : int
        Number of folds, seed of the deal, and the most cases in a batch.
    known : iterable of Place
        Earlier assignments. They stand, whatever `batch_size` was then: adding a case moves no
        other, and another `batch_size` none at all.
    groups : mapping, optional
        Case name to its group, such as a patient: one fold holds out all cases of a group.

    Returns
    -------
    list of Place
        One for each of `cases`, in order of name.

    Raises
    ------
    InputError
        If there are fewer labelled cases than folds, a case that was labelled has no label any
        more, one with a fold is a test now, a group lies in several folds, or a fold has lost all
        of its cases.
    """
    cases = list(cases)
    tests = {case.name for case in cases if case.test}
    is_labelled = {case.name: case.labelled for case in cases}
    has_label = {name: is_labelled[name] and name not in tests for name in is_labelled}
    placed = {place.name: place for place in known}
    shared = has_label.keys() & placed.keys()
    if lost := sorted(n for n in shared if placed[n].labelled and not is_labelled[n]):
        raise InputError(
            f"{', '.join(lost)}: labelled when folds.csv in the results folder was written, but "
            "there is no label any more: put it back, or exclude the case, or take its line out of "
            "folds.csv to have it segmented only"
        )
    dealt = {name for name in shared if placed[name].fold is not None}
    if learned := sorted(dealt & tests):
        raise InputError(
            f"config.yaml: data.test: {', '.join(learned)}: folds.csv in the results folder has a "
            "fold of it, and models have learned from it: take it out of data.test, name another "
            "results folder, or take its line out of folds.csv to train without it"
        )
    for name in shared:
        prefix = _batch_prefix(placed[name].fold, name in tests)
        if placed[name].fold is None and (
            has_label[name] or not placed[name].batch.startswith(prefix)
        ):
            del placed[name]
    labelled = sum(has_label.values())
    if labelled < folds:
        raise InputError(
            f"config.yaml: folds.count is {folds}, but only {labelled} labelled cases were found: "
            "add cases or lower folds.count"
        )
    fold_sizes = dict.fromkeys(range(folds), 0)
    batch_sizes: dict[str, int] = defaultdict(int)
    for place in placed.values():
        batch_sizes[place.batch] += 1
        if place.fold is not None:
            fold_sizes[place.fold] += 1
    new = [name for name in sorted(has_label) if name not in placed]
    random.Random(seed).shuffle(new)
    fold_of: dict[str, int | None] = dict.fromkeys(new)
    fold_of_group = _folds_of_groups(placed, groups or {})
    # A group is dealt as a whole when its first case is; a case without one is a group by itself.
    for name in new:
        if has_label[name]:
            group = (groups or {}).get(name, "")
            smallest = min(fold_sizes, key=lambda fold: (fold_sizes[fold], fold))
            fold = fold_of_group.setdefault(group, smallest) if group else smallest
            fold_of[name] = fold
            fold_sizes[fold] += 1
    for name in sorted(new):
        batch = _batch_with_room(fold_of[name], name in tests, batch_sizes, batch_size)
        batch_sizes[batch] += 1
        placed[name] = Place(name, fold_of[name], batch)
    assigned = [placed[name] for name in sorted(has_label)]
    for fold in sorted(set(fold_sizes) - {place.fold for place in assigned}):
        raise InputError(
            f"config.yaml: fold {fold} has no case left: exclude fewer, or delete folds.csv in the "
            "results folder to deal the folds anew"
        )
    return assigned


def _folds_of_groups(placed: Mapping[str, Place], groups: Mapping[str, str]) -> dict[str, int]:
    """The folds that groups have already; an InputError if one has several."""
    found: dict[str, int] = {}
    for name, place in placed.items():
        group = groups.get(name)
        if group and place.fold is not None and found.setdefault(group, place.fold) != place.fold:
            raise InputError(
                f"config.yaml: data.groups: {group} has cases in folds {found[group]} and "
                f"{place.fold} of folds.csv in the results folder: mend data.groups, or delete "
                "folds.csv to deal the folds, and train every model, anew"
            )
    return found


def _batch_with_room(fold: int | None, test: bool, sizes: dict[str, int], batch_size: int) -> str:
    prefix, number = _batch_prefix(fold, test), 0
    while sizes[f"{prefix}-{number:03d}"] >= batch_size:
        number += 1
    return f"{prefix}-{number:03d}"


def _batch_prefix(fold: int | None, test: bool = False) -> str:
    if fold is not None:
        return f"fold{fold}"
    return TEST if test else UNLABELLED


def read_assignments(path: Path, *, folds: int, seed: int) -> list[Place]:
    """Read what `write_assignments` stored; nothing where there is no such file.

    Raises
    ------
    InputError
        If the file or its folder cannot be read, or the file is damaged, holds another number of
        cases than its first line says, or was made with another number of folds or another seed.
    """
    path = Path(path)
    try:
        folder = next(parent for parent in path.parents if os.path.lexists(parent))
        if not (path.parent.is_dir() or folder.is_dir()):
            raise InputError(f"{folder}: no folder: name another as results in config.yaml")
        if not os.path.lexists(path):
            return []
        settings, _, table = read_text(path).partition("\n")
        stored = dict(re.findall(r"(\w+)=(-?\d+)", settings))
        if not {"folds", "seed"} <= stored.keys():
            raise ValueError("its first line has no number of folds and no seed")
        if (stored["folds"], stored["seed"]) != (str(folds), str(seed)):
            raise InputError(
                f"{path}: was dealt with folds={stored['folds']} seed={stored['seed']}, but "
                f"config.yaml asks for folds={folds} seed={seed}: restore these values, or delete "
                "the file to deal the folds, and train every model, anew"
            )
        reader = csv.DictReader(io.StringIO(table))
        if missing := set(COLUMNS) - {*(reader.fieldnames or ())}:
            raise ValueError(f"no column {min(missing)}; columns are parted by commas")
        places = [_place_from(row, int(stored["folds"])) for row in reader]
        if not table.endswith("\n"):
            raise ValueError("cut off: its last line has no end")
        if len({place.name for place in places}) < len(places):
            raise ValueError("a case is there twice")
        # Earlier versions did not count.
        if int(stored.get("cases", len(places))) != len(places):
            raise InputError(
                f"{path}: {len(places)} cases, but {stored['cases']} by its first line: put back "
                "what was cut off (cases.csv beside it begins with the same columns), or where you "
                f"changed the lines yourself write cases={len(places)} there"
            )
        return places
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}): mend its permissions or the disk"
        ) from error
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path}: damaged ({error}): restore it (cases.csv beside it begins with the same "
            "columns), or delete it to deal the folds, and train every model, anew"
        ) from error


def _place_from(row: dict[str, str], folds: int) -> Place:
    """The place in a row of the stored table; ValueError or the like if it cannot be one."""
    fold = int(row["fold"]) if row["fold"] else None
    test = fold is None and (row["batch"] or "").startswith(TEST)
    batch = re.fullmatch(rf"{_batch_prefix(fold, test)}-\d+", row["batch"])
    if not SAFE_NAME.fullmatch(row["case"]) or fold not in (None, *range(folds)) or not batch:
        raise ValueError(f"row {','.join(row.values())}")
    return Place(row["case"], fold, row["batch"])


def write_assignments(path: Path, places: Iterable[Place], *, folds: int, seed: int) -> None:
    """Store the assignment as CSV, one row a case; unchanged files are left alone.

    Cases that were stored before and are no longer there keep their rows, so that excluding a
    case for one run does not deal its place to another.
    """
    rows = {place.name: place for place in read_assignments(path, folds=folds, seed=seed)}
    rows.update({place.name: place for place in places})
    text = io.StringIO()
    text.write(f"# folds={folds} seed={seed} cases={len(rows)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name in sorted(rows):
        fold = rows[name].fold
        writer.writerow([name, "" if fold is None else fold, rows[name].batch])
    path = Path(path)
    if not path.exists() or path.read_text(encoding="utf-8") != text.getvalue():
        write_text(path, text.getvalue())
