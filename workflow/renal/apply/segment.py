"""CTs segmented one after another by a packed row."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from renal.apply.inspect import notice
from renal.apply.measures import Measure, measure
from renal.apply.preview import draw_preview
from renal.apply.warnings import doubts_of_result, doubts_of_scan
from renal.errors import InputError
from renal.files import write_json, write_text
from renal.parallel import telling_of_memory

if TYPE_CHECKING:
    from renal.apply.inputs import Input
    from renal.apply.progress import Progress
    from renal.apply.stages import Row


@dataclass
class Outcome:
    """What became of the CTs.

    Attributes
    ----------
    faults : list of str
        Of those that could not be segmented.
    measures : list of tuple
        Name of a CT, and what was measured in it.
    written : list of Path
        The segmentations.
    """

    faults: list[str] = field(default_factory=list)
    measures: list[tuple[str, Measure]] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)


def segment_all(
    inputs: Iterable["Input"], row: "Row", output: Path, progress: "Progress", *, preview: bool
) -> Outcome:
    """Segment CTs; one that cannot be is told, and the others are finished.

    Parameters
    ----------
    inputs : iterable of Input
        The CTs.
    row : Row
        What segments them.
    output : Path
        Folder for ``<name>`` with the ending of its kind, ``<name>.json`` and, with `preview`,
        ``<name>.png``.
    progress : Progress
        Is told where the work is.
    preview : bool
        Whether to draw each result.
    """
    outcome = Outcome()
    for given in inputs:
        progress.begin(given.name)
        try:
            with telling_of_memory(given.name, "use a larger machine"):
                written, measures, doubts = _segment_one(given, row, output, progress, preview)
        except InputError as error:
            outcome.faults.append(str(error))
            progress.tell(f"not segmented: {error}")
        else:
            outcome.written.append(written)
            outcome.measures += [(given.name, measured) for measured in measures]
            progress.tell(f"warning: {'; '.join(doubts)}" if doubts else "segmented")
    return outcome


def _segment_one(
    given: "Input", row: "Row", output: Path, progress: "Progress", preview: bool
) -> tuple[Path, list[Measure], list[str]]:
    progress.stage("read")
    scan = given.read()
    package = row.package
    doubts = doubts_of_scan(scan, package.provenance)
    spacing = scan.header.spacing
    label = row.segment(scan.volume, spacing, given.name, progress.stage)
    progress.stage("write")
    doubts += doubts_of_result(label, package.scheme)
    measures = measure(label, scan.volume, spacing, package.scheme)
    account, picture = (output / f"{given.name}{ending}" for ending in (".json", ".png"))
    for earlier in (account, picture):  # which are of another segmentation
        earlier.unlink(missing_ok=True)
    written = given.write(scan, label, output)
    if preview:
        title = f"{_printable(given.name)}: {package.title}\n{notice(package)}"
        draw_preview(picture, scan.volume, label, spacing, title, package.scheme)
    write_json(
        account,
        {
            "segmentation": written.name,
            "labels": package.labels,
            "shape": scan.header.shape,
            "spacing_mm": spacing,
            "model": package.name,
            "package_sha256": row.file.digest,
            "folds": row.folds,
            "intended_use": package.intended_use,
            "warnings": doubts,
            "measures": [asdict(measured) for measured in measures],
        },
    )
    return written, measures, doubts


def write_measures(path: Path, measures: list[tuple[str, Measure]]) -> None:
    """Write a CSV with a line for each kidney and each tumour."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", *(column.name for column in fields(Measure))])
    table.writerows([_printable(name), *asdict(measured).values()] for name, measured in measures)
    write_text(path, text.getvalue())


def _printable(name: str) -> str:
    """A name without what is no UTF-8 in it, as that of a file may have."""
    return name.encode(errors="backslashreplace").decode()
