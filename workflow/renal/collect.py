"""Bringing together what batches and groups of cases made."""

import csv
import io
import os
import zipfile
from pathlib import Path

from renal.errors import InputError
from renal.files import replacing, write_text
from renal.validation import CheckedCase

COLUMNS = ("case", "fold", "batch", "slices", "rows", "columns", "spacing_z_mm", "spacing_y_mm")
COLUMNS += ("spacing_x_mm", "kidney_ml", "tumour_ml", "usable", "remark")


def check_cases(batches: dict[str, list[CheckedCase]], output: Path) -> list[str]:
    """Write the index of all cases; refuse to go on with a labelled case that cannot be used.

    Parameters
    ----------
    batches : dict
        Batch name to its checked cases.
    output : Path
        CSV to write, one row a case.

    Returns
    -------
    list of str
        Faults of cases that are only to be segmented: they are left out, the others go on.

    Raises
    ------
    InputError
        With all bad labelled cases at once, a line each.
    """
    cases = sorted(
        ((batch, case) for batch, members in batches.items() for case in members),
        key=lambda item: item[1].name,
    )
    bad = [case.fault for _, case in cases if case.fault and case.labelled]
    if bad:
        raise InputError(
            "\n".join(bad) + f"\n{len(bad)} of {len(cases)} cases cannot be used: mend them, "
            "or name them under data.exclude in config.yaml"
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for batch, case in cases:
        fold = batch.partition("-")[0].removeprefix("fold") if case.labelled else ""
        geometry = [*(case.shape or [""] * 3), *(case.spacing or [""] * 3)]
        remark = case.fault or "; ".join(case.notes)
        volumes = [case.kidney_ml, case.tumour_ml]
        writer.writerow([case.name, fold, batch, *geometry, *volumes, not case.fault, remark])
    write_text(output, text.getvalue())
    return [case.fault for _, case in cases if case.fault]


def collect_scores(parts: list[Path], output: Path) -> None:
    """Join the folds' CSV files, which have the same columns, into one, sorted by case."""
    lines = [path.read_text(encoding="utf-8").splitlines() for path in parts]
    header = lines[0][0]
    position = header.split(",").index("case")
    rows = sorted((row for part in lines for row in part[1:]), key=lambda r: r.split(",")[position])
    write_text(output, "\n".join([header, *rows]) + "\n")


def collect_segmentations(folders: list[Path], output: Path) -> None:
    """Link every case's segmentation into one folder."""
    output.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        for path in sorted(folder.glob("*.nii.gz")):
            target = output / path.name
            target.unlink(missing_ok=True)
            os.link(path, target)


def write_submission(segmentations: Path, cases: list[str], output: Path) -> None:
    """Link the unlabelled cases' segmentations as the challenge names them, and zip them.

    Parameters
    ----------
    segmentations : Path
        Folder of ``case_XXXXX.nii.gz``.
    cases : list of str
        The unlabelled cases.
    output : Path
        Folder for ``prediction_XXXXX.nii.gz`` and ``submission.zip``.
    """
    output.mkdir(parents=True, exist_ok=True)
    # NIfTI files are compressed already, and a fixed date keeps the archive's bytes the same.
    with replacing(output / "submission.zip") as temporary, zipfile.ZipFile(temporary, "w") as z:
        for case in sorted(cases):
            source = segmentations / f"{case}.nii.gz"
            target = output / f"{case.replace('case_', 'prediction_', 1)}.nii.gz"
            target.unlink(missing_ok=True)
            os.link(source, target)
            z.writestr(zipfile.ZipInfo(target.name, (1980, 1, 1, 0, 0, 0)), source.read_bytes())
