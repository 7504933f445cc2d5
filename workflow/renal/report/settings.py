"""What the tables need to know of a method."""

from typing import Literal

from pydantic import NonNegativeInt

from renal.settings import Name, Strict

# What a comparison of rows writes: tables, and pictures by what they show.
COMPARED = (
    *(f"compare{part}.csv" for part in ("", "_rows", "_schemes", "_places", "_cases")),
    *("compare.md", "compare.html"),
)
DRAWN = ("values", "tests", "places", "blobs", "scatter", "size")


class Published(Strict):
    """Figures from the paper: mean Dice of regions and, where given, its SD over folds.

    `labels` is the scheme that they were scored by: tables by another one leave them out.
    """

    labels: Name = "kits19"
    dice: dict[Name, tuple[float, float | None]]
    grid: Literal["native", "resampled"]
    where: str


class Row(Strict):
    """What the tables say about a method.

    nnU-Net has looked at held-out cases when it planned (`planned_on_these`).
    For segmentations of another program, whether it has learned from these cases, and how many of
    the table's it left out, which were scored as empty.
    """

    family: Name
    title: str
    published: Published | None
    validated: bool = False
    planned_on_these: bool = False
    trained_on_these: bool | Literal["unknown"] | None = None
    missing: NonNegativeInt = 0


class Comparison(Strict):
    """Rows to compare, and what each has learned or taken from elsewhere, as row/stage."""

    rows: dict[Name, Row]
    models: dict[Name, tuple[str, ...]]
