"""Where the files of each case lie: what a run's plan leaves for the steps that read them.

Records of checked cases do not say it, so that the same files elsewhere are no reason to run.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from renal.errors import InputError
from renal.files import read_json, write_json
from renal.handover.checked import CheckedCase, usable

# A case's image, and its label if it has one.
Files = tuple[Path, Path | None]


def write_files(path: Path, files: Mapping[str, Files]) -> None:
    """Write where the image and the label, if there is one, of each case lie."""
    write_json(path, {name: [file and str(file) for file in both] for name, both in files.items()})


def read_files(path: Path, names: Iterable[str]) -> dict[str, Files]:
    """What `write_files` wrote of some cases.

    Raises
    ------
    InputError
        If the list is missing or damaged, or one of the cases is not in it.
    """
    listed = read_json(path)
    try:
        pairs = {name: listed[name] for name in names}
        return {
            name: (Path(image), None if label is None else Path(label))
            for name, (image, label) in pairs.items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: damaged, or not of these cases ({error!r}): run the workflow again"
        ) from error


def usable_with_files(records: list[Path], files: Path) -> list[CheckedCase]:
    """What `usable` finds in records, with the paths of the cases' files.

    Raises
    ------
    InputError
        As from `usable` and `read_files`.
    """
    cases = usable(records)
    listed = read_files(files, [case.name for case in cases])
    for case in cases:
        image, label = listed[case.name]
        case.image, case.label = str(image), str(label) if label and case.labelled else None
    return cases
