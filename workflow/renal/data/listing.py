"""The index of all cases, and the refusal of bad ones."""

import csv
import io
import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from renal.data.lists import listed_spacings
from renal.errors import InputError
from renal.files import write_text
from renal.handover.checked import CheckedCase, refuse_labelled_faults
from renal.labels import KITS19, Labels

log = logging.getLogger(__name__)

PLACE = ("case", "fold", "batch")
GEOMETRY = ("slices", "rows", "columns", "spacing_z_mm", "spacing_y_mm", "spacing_x_mm")
SPACING_TOLERANCE_MM = 1e-2


def list_cases(
    batches: dict[str, list[CheckedCase]], data: Path, output: Path, labels: Labels = KITS19
) -> None:
    """Write the index of all cases, with what is wrong or unusual about each as a remark.

    Parameters
    ----------
    batches : dict
        Batch name to its checked cases.
    data : Path
        The data set's folder, for its kits.json.
    output : Path
        CSV to write, one row a case.
    labels : Labels
        Of which regions to list the volumes.
    """
    cases = sorted(
        ((batch, case) for batch, members in batches.items() for case in members),
        key=lambda item: item[1].name,
    )
    faults = _faults([case for _, case in cases], data)
    twins = _same_images(cases)
    for name, remark in twins.items():
        log.warning("%s: %s", name, remark)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    volumes = [f"{name}_ml" for name in labels.names]
    writer.writerow([*PLACE, *GEOMETRY, *volumes, "usable", "remark"])
    for batch, case in cases:
        fold = batch.partition("-")[0].removeprefix("fold") if case.labelled else ""
        shape: Sequence[int | str] = case.shape or [""] * 3
        spacing: Sequence[float | str] = case.spacing or [""] * 3
        remarks = [faults[case.name], *case.notes, twins.get(case.name, "")]
        volumes = [str(case.volumes_ml.get(name, "")) for name in labels.names]
        writer.writerow(
            [
                case.name,
                fold,
                batch,
                *shape,
                *spacing,
                *volumes,
                not faults[case.name],
                "; ".join(filter(None, remarks)),
            ]
        )
    write_text(output, text.getvalue())


def check_cases(cases: list[CheckedCase], data: Path, output: Path) -> list[str]:
    """Refuse to go on with a labelled case that cannot be used.

    Parameters
    ----------
    cases : list of CheckedCase
        All of them.
    data : Path
        The data set's folder, for its kits.json.
    output : Path
        Text to write, the name of a case that can be used on each line.

    Returns
    -------
    list of str
        Faults of cases that are only to be segmented: they are left out, the others go on.

    Raises
    ------
    InputError
        With all bad cases at once, a line each, if a labelled one is among them, or one whose
        spacing is not the listed one.
    """
    cases = sorted(cases, key=lambda case: case.name)
    faults = _faults(cases, data)
    refuse_labelled_faults([replace(case, fault=faults[case.name]) for case in cases])
    if misfits := [faults[case.name] for case in cases if faults[case.name] != case.fault]:
        raise InputError("\n".join(misfits))
    write_text(output, "".join(f"{case.name}\n" for case in cases if not case.fault))
    return [case.fault for case in cases if case.fault]


def _faults(cases: list[CheckedCase], data: Path) -> dict[str, str]:
    """Case name to why it cannot be used; empty where it can.

    What kits.json says of the cases is compared here and not where their files are read: another
    kits.json is then no reason to read them, and to make all that comes of them, again.
    """
    listed = listed_spacings(data)
    return {case.name: case.fault or _other_spacing(case, listed.get(case.name)) for case in cases}


def _other_spacing(case: CheckedCase, listed: Any) -> str:
    """A fault, if kits.json says something else of a case's spacing (z, y, x in mm)."""
    if not listed or case.spacing is None:
        return ""
    try:
        expected = [float(listed[f"{axis}_spacing"]) for axis in "zyx"]
        agrees = all(
            abs(a - b) <= SPACING_TOLERANCE_MM for a, b in zip(expected, case.spacing, strict=True)
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        agrees = False
    if agrees:
        return ""
    return (
        f"{case.name}: spacing {tuple(round(s, 4) for s in case.spacing)} mm (z, y, x), "
        f"but kits.json says {listed}: mend the header or kits.json"
    )


def _same_images(cases: list[tuple[str, CheckedCase]]) -> dict[str, str]:
    """Case name to a remark that names the other cases with the same image, and their batches.

    A CT in two folds is learned from and held out at once. It is told and not refused, because
    a checksum of 32 bits meets by chance once in a hundred data sets of 10,000 cases, and because
    a CT may be there twice on purpose, with two labels.
    """
    groups: dict[tuple[object, ...], list[tuple[str, str]]] = defaultdict(list)
    for batch, case in cases:
        if case.sample and case.shape:
            groups[case.sample, *case.shape].append((case.name, batch))
    remarks = {}
    for members in groups.values():
        for name, batch in members if len(members) > 1 else ():
            others = [member for member in members if member[0] != name]
            remarks[name] = "same image as " + ", ".join(f"{n} ({b})" for n, b in others)
            if any(_in_other_folds(batch, b) for _, b in others):
                remarks[name] += ", which is learned from while this one is held out"
            elif any(_learned_and_tested(batch, b) for _, b in others):
                remarks[name] += ": one is learned from, and the other is a test"
    return remarks


def _learned_and_tested(first: str, second: str) -> bool:
    """Whether one of two batches is of a fold and the other of tests."""
    return {re.sub(r"[\d-]+", "", batch) for batch in (first, second)} == {"fold", "test"}


def _in_other_folds(first: str, second: str) -> bool:
    """Whether two batches are of labelled cases and not of the same fold."""
    folds = {batch.partition("-")[0] for batch in (first, second)}
    return len(folds) == 2 and all(fold.startswith("fold") for fold in folds)
