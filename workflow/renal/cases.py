"""Which cases there are, and which fold and batch each belongs to.

Read while the workflow is planned, so everything here is a look at file names: no image is opened.
"""

import csv
import io
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renal.errors import InputError
from renal.files import read_json, write_text

CASE_NAME = re.compile(r"case_[A-Za-z0-9]+")
IMAGE, LABEL = "imaging.nii.gz", "segmentation.nii.gz"


@dataclass(frozen=True)
class Case:
    """One case of the data set.

    Attributes
    ----------
    name : str
        Folder name, such as ``case_00012``.
    fold : int or None
        The fold that holds the case out; None for an unlabelled case.
    batch : str
        The batch that prepares it. A batch never crosses folds.
    """

    name: str
    fold: int | None
    batch: str


def find_cases(root: Path, exclude: Iterable[str] = ()) -> dict[str, bool]:
    """List the cases in a KiTS19 folder.

    Parameters
    ----------
    root : Path
        Folder of ``case_XXXXX/imaging.nii.gz`` and, where labelled, ``segmentation.nii.gz``.
    exclude : iterable of str
        Names of cases to leave out.

    Returns
    -------
    dict
        Name to whether it has a label, sorted by name.

    Raises
    ------
    InputError
        If the folder is missing or holds no case, or an excluded name is not that of a case.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"{root}: no such folder: put the KiTS19 cases there "
            f"({root}/case_00000/{IMAGE}, ...) or set data.root in config.yaml; "
            "`make demo` needs no data"
        )
    names = sorted(entry.name for entry in root.iterdir() if CASE_NAME.fullmatch(entry.name))
    # A folder without an image is kept: validation names it together with all other bad ones.
    names = [name for name in names if (root / name).is_dir()]
    if not names:
        raise InputError(
            f"{root}: no cases: folders named case_00000 with {IMAGE} in each are needed"
        )
    unknown = sorted(set(exclude) - set(names))
    if unknown:
        raise InputError(
            f"config.yaml: data.exclude names {', '.join(unknown)}, not in {root}: remove them"
        )
    kept = sorted(set(names) - set(exclude))
    return {name: (root / name / LABEL).exists() for name in kept}


def listed_spacings(root: Path) -> dict[str, Any]:
    """Case name to ``voxel_spacing`` in kits.json; empty where there is no such file."""
    path = Path(root) / "kits.json"
    if not path.exists():
        return {}
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InputError(f"{path}: a list of cases is expected: restore the file or remove it")
    return {
        entry["case_id"]: entry.get("voxel_spacing")
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("case_id"), str)
    }


def assign(
    cases: dict[str, bool],
    *,
    folds: int,
    seed: int,
    batch_size: int,
    known: Iterable[Case] = (),
) -> list[Case]:
    """Give every case its fold and batch, keeping what was given before.

    Parameters
    ----------
    cases : dict
        Name to whether it has a label, from `find_cases`.
    folds, seed, batch_size : int
        Number of folds, seed of the deal, and the most cases in a batch.
    known : iterable of Case
        Earlier assignments. They stand, so that adding a case moves no other.

    Returns
    -------
    list of Case
        `cases` in order of name.

    Raises
    ------
    InputError
        If there are fewer labelled cases than folds, or a fold has lost all of its cases.
    """
    known = list(known)
    labelled = sum(cases.values())
    if labelled < folds:
        raise InputError(
            f"config.yaml: folds.count is {folds}, but only {labelled} labelled cases were found: "
            "add cases or lower folds.count"
        )
    placed = {case.name: case for case in known}
    for name, has_label in cases.items():
        if name in placed and (placed[name].fold is not None) != has_label:
            del placed[name]
    fold_sizes = dict.fromkeys(range(folds), 0)
    batch_sizes: dict[str, int] = defaultdict(int)
    for case in placed.values():
        batch_sizes[case.batch] += 1
        if case.fold is not None:
            fold_sizes[case.fold] += 1
    new = [name for name in sorted(cases) if name not in placed]
    random.Random(seed).shuffle(new)
    fold_of = {}
    for name in new:
        fold_of[name] = None
        if cases[name]:
            fold_of[name] = min(fold_sizes, key=lambda fold: (fold_sizes[fold], fold))
            fold_sizes[fold_of[name]] += 1
    for name in sorted(new):
        batch = _batch_with_room(fold_of[name], batch_sizes, batch_size)
        batch_sizes[batch] += 1
        placed[name] = Case(name, fold_of[name], batch)
    assigned = [placed[name] for name in sorted(cases)]
    for fold in sorted(set(fold_sizes) - {case.fold for case in assigned}):
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


def read_assignments(path: Path, *, folds: int, seed: int, batch_size: int) -> list[Case]:
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
        settings, _, table = path.read_text(encoding="utf-8").partition("\n")
        stored = dict(re.findall(r"(\w+)=(-?\d+)", settings))
        if (stored["folds"], stored["seed"]) != (str(folds), str(seed)):
            raise InputError(
                f"{path}: was dealt with {settings.removeprefix('# ')}, but config.yaml asks for "
                f"folds={folds} seed={seed}: restore these values, or delete the file to deal the "
                "folds, and train every model, anew"
            )
        same_batches = stored["batch_size"] == str(batch_size)
        cases = [
            _case_from(row, int(stored["folds"])) for row in csv.DictReader(io.StringIO(table))
        ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: damaged ({error}): restore it, or delete it to deal the folds anew"
        ) from error
    if same_batches:
        return cases
    sizes: dict[str, int] = defaultdict(int)
    moved = []
    for case in sorted(cases, key=lambda case: case.name):
        batch = _batch_with_room(case.fold, sizes, batch_size)
        sizes[batch] += 1
        moved.append(Case(case.name, case.fold, batch))
    return moved


def _case_from(row: dict[str, str], folds: int) -> Case:
    """The case in a row of the stored table; ValueError or the like if it cannot be one."""
    fold = int(row["fold"]) if row["fold"] else None
    batch = re.fullmatch(rf"{_batch_prefix(fold)}-\d+", row["batch"])
    if not CASE_NAME.fullmatch(row["case"]) or fold not in (None, *range(folds)) or not batch:
        raise ValueError(f"row {','.join(row.values())}")
    return Case(row["case"], fold, row["batch"])


def write_assignments(
    path: Path, cases: Iterable[Case], *, folds: int, seed: int, batch_size: int
) -> None:
    """Store the assignment as CSV, one row a case; unchanged files are left alone.

    Cases that were stored before and are no longer there keep their rows, so that excluding a
    case for one run does not deal its place to another.
    """
    settings = {"folds": folds, "seed": seed, "batch_size": batch_size}
    rows = {case.name: case for case in read_assignments(path, **settings)}
    rows.update({case.name: case for case in cases})
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
