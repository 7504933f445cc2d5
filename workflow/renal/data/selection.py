"""Which cases a run takes, which of them are tests, and which belong to one patient.

Read while the workflow is planned.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from renal.data.cases import Case, Layout, description_of, find_cases
from renal.data.lists import read_rows, refuse_other_labels
from renal.errors import InputError
from renal.files import read_text
from renal.labels import KITS19, Labels

RANGE = re.compile(r"(\d+)(?:-(\d+))?")
NUMBER = re.compile(r"\d+$")


def select_cases(
    root: Path,
    *,
    exclude: Iterable[str] = (),
    layout: Layout | None = None,
    unlabelled: Path | None = None,
    test: Sequence[str | int] | Path = (),
    labels: Labels = KITS19,
) -> list[Case]:
    """The cases of a run, in order of name.

    Parameters
    ----------
    root, exclude, layout
        As `find_cases` has them.
    unlabelled : Path, optional
        A further folder of CTs that are only to be segmented; labels in it are not used.
    test : sequence or Path
        Names, numbers and ranges such as ``210-299`` of cases that are only to be tested on, or a
        file with one of these a line. A number means the cases whose names end in it.
    labels : Labels
        The label values that there are, which the data set's own description must agree with.

    Raises
    ------
    InputError
        As from `find_cases`; if a name is in both folders, a test is not there or has no label, or
        label values have another meaning.
    """
    cases = find_cases(root, exclude, layout)
    if (description := description_of(root, cases)) is not None:
        refuse_other_labels(description, labels)
    if unlabelled is not None:
        names = {case.name for case in cases}
        for case in find_cases(unlabelled):
            if case.name in names:
                raise InputError(
                    f"{case.image}: {root} has a case {case.name}, too: rename one, or take the "
                    "file out of data.unlabelled"
                )
            cases.append(Case(case.name, case.image))
    tests = _named(cases, _lines(test) if isinstance(test, Path) else test)
    if bare := sorted(case.name for case in cases if case.name in tests and not case.labelled):
        raise InputError(
            f"config.yaml: data.test: {', '.join(bare)} without a label: add it, or take the case "
            "out of data.test to have it segmented only"
        )
    chosen = (replace(case, test=case.test or case.name in tests) for case in cases)
    return sorted(chosen, key=lambda case: case.name)


def _lines(path: Path) -> list[str]:
    try:
        lines = (line.strip() for line in read_text(path).splitlines())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}): mend data.test") from error
    return [line for line in lines if line and not line.startswith("#")]


def _named(cases: list[Case], wanted: Sequence[str | int]) -> set[str]:
    """Names of the cases that are wanted; an InputError if one stands for none."""
    number_of = {c.name: int(digits[0]) for c in cases if (digits := NUMBER.search(c.name))}
    names: set[str] = set()
    for item in map(str, wanted):
        # Python takes no number of more than 4300 digits, and no file has such a name.
        span = RANGE.fullmatch(item) if len(item) < 1000 else None
        if span:
            first, last = int(span[1]), int(span[2] or span[1])
            found = {name for name, number in number_of.items() if first <= number <= last}
        else:
            found = {case.name for case in cases if case.name == item}
        if not found:
            raise InputError(f"config.yaml: data.test: {item[:80]} is no case's: mend or remove it")
        names |= found
    return names


def read_groups(
    path: Path | None, cases: Iterable[Case], exclude: Iterable[str] = ()
) -> dict[str, str]:
    """Case name to the group, such as a patient, whose cases one fold holds out together.

    Parameters
    ----------
    path : Path or None
        CSV with columns case and group; cases that it does not list are each by themselves.
    cases : iterable of Case
        Those of the run.
    exclude : iterable of str
        Further names that may be listed.

    Raises
    ------
    InputError
        If it cannot be read, lists a case twice or one that is not there, or some but not all
        cases of a group are tests.
    """
    if path is None:
        return {}
    is_test = {case.name: case.test for case in cases if case.labelled}
    known = {case.name for case in cases} | set(exclude)
    groups: dict[str, str] = {}
    for number, row in read_rows(path, "case", "group"):
        name, group = row["case"], row["group"]
        if name not in known or name in groups or not group:
            fault = (
                "is there twice" if name in groups else "has no group" if not group else "is none"
            )
            raise InputError(f"{path}: line {number}: case {name!r} {fault}: mend it")
        groups[name] = group
    tested = {groups[name] for name, test in is_test.items() if test and name in groups}
    learned = {groups[name] for name, test in is_test.items() if not test and name in groups}
    if both := sorted(tested & learned):
        raise InputError(
            f"{path}: {', '.join(both)}: some of the cases are in data.test and some are not: "
            "take all of a group or none"
        )
    return groups
