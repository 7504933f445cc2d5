"""Tables of scores as they are written."""

import csv
import io
from pathlib import Path
from typing import Any

from renal.files import write_text


def write_scores(rows: list[dict[str, Any]], output: Path) -> None:
    """Write rows of equal keys, of which there is one at least, as CSV with six digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _rounded(value) for key, value in row.items()} for row in rows)
    write_text(output, text.getvalue())


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
