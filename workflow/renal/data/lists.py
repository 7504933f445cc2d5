"""What a data set says of its cases in lists: tables, kits.json and nnU-Net's dataset.json.

Read while the workflow is planned.
"""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from renal.errors import InputError
from renal.files import read_text
from renal.labels import Labels


def read_rows(path: Path, *columns: str) -> list[tuple[int, dict[str, str]]]:
    """Number and cells of each line of a CSV file that has some columns.

    Raises
    ------
    InputError
        If it cannot be read, or a column or cell is missing.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path).removeprefix("\ufeff")))
        reader.fieldnames = names = [name.strip() for name in reader.fieldnames or ()]
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}): restore it") from error
    for column in columns:
        if column not in names:
            raise InputError(f"{path}: no column {column}: name the columns, parted by commas")
    for column in names:
        if column and names.count(column) > 1:
            raise InputError(f"{path}: several columns {column!r}: keep one")
    for number, row in rows:
        if None in row or None in row.values():
            raise InputError(f"{path}: line {number}: other columns than the first line: mend it")
    return [(number, {k: v.strip() for k, v in row.items()}) for number, row in rows]


def read_listed(path: Path) -> Any:
    """The content of a JSON file that may be left out; None where it is not there.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if not os.path.lexists(path):
        return None
    try:
        return json.loads(read_text(path, "utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}): restore it, or take it away to go on without it"
        ) from error


def listed_spacings(root: Path) -> dict[str, Any]:
    """Case name to ``voxel_spacing`` in kits.json; empty where there is no such file."""
    path = Path(root) / "kits.json"
    entries = read_listed(path)
    if not isinstance(entries, list | None):
        raise InputError(f"{path}: a list of cases is expected: restore the file or remove it")
    return {
        entry["case_id"]: entry.get("voxel_spacing")
        for entry in entries or ()
        if isinstance(entry, dict) and isinstance(entry.get("case_id"), str)
    }


def refuse_other_labels(description: Path, labels: Labels) -> None:
    """Raise an InputError where nnU-Net's dataset.json gives a value another meaning than `labels`.

    Tissues and regions that both name are compared, whether spelled tumor or tumour: a value must
    be one of theirs, and a list of values all of them.
    """
    listed = read_listed(description)
    named = listed.get("labels") if isinstance(listed, dict) else None
    known = {tissue: [value] for value, tissue in labels.tissues.items()}
    known |= {region.name: sorted(region.labels) for region in labels.regions}
    for name, given in named.items() if isinstance(named, dict) else ():
        if isinstance(given, str):  # as the first version of nnU-Net has it: {"2": "tumour"}
            name, given = given, int(name) if name.isdecimal() else name
        elif isinstance(given, list):
            given = sorted(given, key=str)
        expected = known.get(name.lower().replace("tumor", "tumour"))
        if expected and given != expected and given not in expected:
            raise InputError(
                f"{description}: {name} is {given}, but by data.labels in config.yaml values are "
                f"{labels.legend}: set data.labels to what the labels are"
            )
