"""Bringing together what groups of cases made."""

import shutil
import zipfile
from pathlib import Path

from renal.errors import InputError
from renal.files import remedy_for, replacing, write_text
from renal.handover.checked import CheckedCase
from renal.handover.segmentations import segmentation_of


def collect_scores(parts: list[Path], output: Path, cases: list[str] | None = None) -> None:
    """Join the folds' CSV files, which have the same columns, into one, sorted by case.

    Parameters
    ----------
    parts : list of Path
        CSV files that `evaluate` wrote.
    output : Path
        CSV to write.
    cases : list of str, optional
        The cases that they must score together.

    Raises
    ------
    InputError
        If they score other cases, or one of them twice, or have other columns than the first.
    """
    lines = [_lines_of(path) for path in parts]
    header = lines[0][0]
    for path, part in zip(parts, lines, strict=True):
        if part[0] != header:
            raise InputError(f"{path}: other columns than {parts[0]}: delete both and run again")
    position = header.split(",").index("case")
    named = [{row.split(",")[position] for row in part[1:]} for part in lines]
    if cases is not None and sorted(name for names in named for name in names) != sorted(cases):
        wrong = set(cases) ^ set().union(*named)
        raise InputError(
            f"{', '.join(map(str, parts))}: {', '.join(sorted(wrong)) or 'a case'} scored by none, "
            "by several, or not to be scored: delete these files and run the workflow again"
        )
    rows = sorted((row for part in lines for row in part[1:]), key=lambda r: r.split(",")[position])
    write_text(output, "\n".join([header, *rows]) + "\n")


def _lines_of(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len({line.count(",") for line in lines}) != 1 or "case" not in lines[0].split(","):
            raise ValueError("not a table of cases")
        return lines
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}): {remedy_for(error)}") from error


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
        for case in (case for case in cases if not case.fault):
            segmentation_of(folder, case.name)
    if faults := [case.fault for case in cases if case.fault]:
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
