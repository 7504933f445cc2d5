"""Tables that a step wrote and another one reads."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from renal.errors import InputError
from renal.files import remedy_for


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file with at least one row and some columns.

    Raises
    ------
    InputError
        If it is missing or damaged, or a column is not in it.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())
        raise _damaged(path, reason, remedy_for(error)) from error
    if missing := [column for column in columns if column not in table]:
        raise _damaged(path, f"no column {missing[0]}")
    if table.empty:
        raise _damaged(path, "no row")
    return table


def _damaged(path: Path, reason: str, remedy: str = remedy_for(ValueError())) -> InputError:
    return InputError(f"{path}: missing or damaged ({reason}): {remedy}")
