"""The index of all cases, and the refusal of bad ones."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from renal.files import write_text
from renal.handover.checked import CheckedCase, refuse_labelled_faults
from renal.labels import KITS19, Labels

PLACE = ("case", "fold", "batch")
GEOMETRY = ("slices", "rows", "columns", "spacing_z_mm", "spacing_y_mm", "spacing_x_mm")


def check_cases(
    batches: dict[str, list[CheckedCase]], output: Path, labels: Labels = KITS19
) -> list[str]:
    """Write the index of all cases; refuse to go on with a labelled case that cannot be used.

    Parameters
    ----------
    batches : dict
        Batch name to its checked cases.
    output : Path
        CSV to write, one row a case.
    labels : Labels
        Of which regions to list the volumes.

    Returns
    -------
    list of str
        Faults of cases that are only to be segmented: they are left out, the others go on.

    Raises
    ------
    InputError
        With all bad cases at once, a line each, if a labelled one is among them.
    """
    cases = sorted(
        ((batch, case) for batch, members in batches.items() for case in members),
        key=lambda item: item[1].name,
    )
    refuse_labelled_faults([case for _, case in cases])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    volumes = [f"{name}_ml" for name in labels.names]
    writer.writerow([*PLACE, *GEOMETRY, *volumes, "usable", "remark"])
    for batch, case in cases:
        fold = batch.partition("-")[0].removeprefix("fold") if case.labelled else ""
        shape: Sequence[int | str] = case.shape or [""] * 3
        spacing: Sequence[float | str] = case.spacing or [""] * 3
        remark = case.fault or "; ".join(case.notes)
        volumes = [str(case.volumes_ml.get(name, "")) for name in labels.names]
        usable = not case.fault
        writer.writerow([case.name, fold, batch, *shape, *spacing, *volumes, usable, remark])
    write_text(output, text.getvalue())
    return [case.fault for _, case in cases if case.fault]
