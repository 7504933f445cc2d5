"""Bringing together what batches and groups of cases made."""

import csv
import io
import shutil
import zipfile
from pathlib import Path

from renal.errors import InputError
from renal.files import replacing, write_text
from renal.merge import segmentation_of
from renal.validation import CheckedCase, refuse_labelled_faults

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
        With all bad cases at once, a line each, if a labelled one is among them.
    """
    cases = sorted(
        ((batch, case) for batch, members in batches.items() for case in members),
        key=lambda item: item[1].name,
    )
    refuse_labelled_faults([case for _, case in cases])
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


def collect_segmentations(groups: dict[Path, list[CheckedCase]], output: Path) -> None:
    """Copy every case's segmentation into one folder.

    Copies, so that a correction that somebody saves there is not taken for what was predicted.

    Parameters
    ----------
    groups : dict
        Folder of segmentations to the cases that are to be in it.
    output : Path
        Folder to write.
    """
    output.mkdir(parents=True, exist_ok=True)
    for folder, cases in groups.items():
        for case in cases:
            with replacing(output / f"{case.name}.nii.gz") as temporary:
                shutil.copyfile(segmentation_of(folder, case.name), temporary)


def check_segmented(cases: list[CheckedCase], folders: list[Path], output: Path) -> None:
    """Look whether each case has its segmentation in each folder, and write a file if so.

    Raises
    ------
    InputError
        With the faults of all cases that could not be segmented, or the first that is missing.
    """
    for folder in folders:
        for case in cases:
            if not case.fault:
                segmentation_of(folder, case.name)
    faults = [case.fault for case in cases if case.fault]
    if faults:
        raise InputError(
            "\n".join(faults) + f"\ncases that were not segmented: {len(faults)}; all others were: "
            "mend these, or name them under data.exclude in config.yaml"
        )
    write_text(output, f"all {len(cases)} cases were segmented\n")


def write_submission(segmentations: Path, cases: list[str], output: Path) -> None:
    """Copy the unlabelled cases' segmentations as the challenge names them, and zip them.

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
            image = segmentation_of(segmentations, case).read_bytes()
            name = f"{case.replace('case_', 'prediction_', 1)}.nii.gz"
            with replacing(output / name) as target:
                target.write_bytes(image)
            z.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), image)
