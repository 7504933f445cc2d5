"""A table of the DICOM series in a folder."""

from renal.errors import InputError
from renal.image.dicom_checks import check_series
from renal.image.dicom_series import Found, Series

COLUMNS = ("name", "modality", "number", "description", "slices", "spacing (mm)", "kernel", "phase")


def series_table(found: Found) -> str:
    """A line for each series, what is odd about it beneath, and what was left out at the end."""
    rows = [COLUMNS, *(_row(series) for series in found.series)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    for place, series in reversed(list(enumerate(found.series, start=1))):
        lines[place + 1 : place + 1] = [f"  {remark}" for remark in _judged(series)]
    return "\n".join([*lines, *found.remarks])


def _row(series: Series) -> tuple[str, ...]:
    spacing = ""
    if len(series.frames) > 1:
        sizes = (*series.frames[0].spacing, series.step)
        spacing = " x ".join(f"{size:.3g}" for size in sizes)
    return (
        series.name,
        series.modality,
        series.number,
        series.description,
        str(series.images),
        spacing,
        series.kernel,
        series.phase,
    )


def _judged(series: Series) -> list[str]:
    try:
        return check_series(series)
    except InputError as error:
        return [f"cannot be used: {error}"]
