"""Which cases there are, and where their files lie.

Read while the workflow is planned, so everything here is a look at file names: no image is opened.
This is the only module that knows how a data set is laid out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renal.errors import InputError
from renal.files import read_json

CASE_NAME = re.compile(r"case_[A-Za-z0-9]+")
IMAGE, LABEL = "imaging.nii.gz", "segmentation.nii.gz"


@dataclass(frozen=True)
class Case:
    """One case of the data set.

    Attributes
    ----------
    name : str
        Such as ``case_00012``.
    image : Path
        The CT, which may be missing: validation names it together with all other bad ones.
    label : Path or None
        None for a case that is only to be segmented.
    """

    name: str
    image: Path
    label: Path | None = None

    @property
    def labelled(self) -> bool:
        return self.label is not None

    @property
    def files(self) -> list[Path]:
        """The files of the case that there are."""
        paths = [self.image] if self.label is None else [self.image, self.label]
        return [path for path in paths if path.exists()]


def find_cases(root: Path, exclude: Iterable[str] = ()) -> list[Case]:
    """List the cases in a KiTS19 folder.

    Parameters
    ----------
    root : Path
        Folder of ``case_XXXXX/imaging.nii.gz`` and, where labelled, ``segmentation.nii.gz``.
    exclude : iterable of str
        Names of cases to leave out.

    Returns
    -------
    list of Case
        In order of name.

    Raises
    ------
    InputError
        If the folder is missing or holds no case, or an excluded name is not that of a case.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"{root}: no such folder: put the KiTS19 cases there "
            f"({root}/case_00000/{IMAGE}, ...) or set data.root in config.yaml; "
            "`make demo` needs no data"
        )
    names = sorted(entry.name for entry in root.iterdir() if CASE_NAME.fullmatch(entry.name))
    # A folder without an image is kept: validation names it together with all other bad ones.
    names = [name for name in names if (root / name).is_dir()]
    if not names:
        raise InputError(
            f"{root}: no cases: folders named case_00000 with {IMAGE} in each are needed"
        )
    unknown = sorted(set(exclude) - set(names))
    if unknown:
        raise InputError(
            f"config.yaml: data.exclude names {', '.join(unknown)}, not in {root}: remove them"
        )
    kept = sorted(set(names) - set(exclude))
    labels = {name: root / name / LABEL for name in kept}
    return [
        Case(name, root / name / IMAGE, label if label.exists() else None)
        for name, label in labels.items()
    ]


def listed_spacings(root: Path) -> dict[str, Any]:
    """Case name to ``voxel_spacing`` in kits.json; empty where there is no such file."""
    path = Path(root) / "kits.json"
    if not path.exists():
        return {}
    entries = read_json(path)
    if not isinstance(entries, list):
        raise InputError(f"{path}: a list of cases is expected: restore the file or remove it")
    return {
        entry["case_id"]: entry.get("voxel_spacing")
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("case_id"), str)
    }


def stand_in_cases(root: Path, folds: int) -> list[Case]:
    """As few cases as make use of every rule, none of which is there.

    For looking at the rules, their graph or their style, on a machine without data.
    """
    names = [f"case_{number:05d}" for number in range(folds + 1)]
    *labelled, unlabelled = [Path(root) / name for name in names]
    cases = [Case(folder.name, folder / IMAGE, folder / LABEL) for folder in labelled]
    return [*cases, Case(unlabelled.name, unlabelled / IMAGE)]
