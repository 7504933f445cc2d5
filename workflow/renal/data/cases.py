"""Which cases there are, and where their files lie.

Read while the workflow is planned, so everything here is a look at file names: no image is opened.
This is the only module that knows how a data set is laid out.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from renal.errors import InputError

CASE_NAME = re.compile(r"case_[A-Za-z0-9]+")
NIFTI = ".nii.gz"
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
        None for a case that is only to be segmented. A link to a label that is not there counts as
        a label, and validation names it.
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
        # os.path, to which a file behind a folder that is closed is none: validation names it.
        return [path for path in paths if os.path.exists(path)]


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
        If the folder is missing, cannot be read or holds no case, an excluded name is not that of
        a folder, or a label is not compressed.
    """
    root = Path(root)
    try:
        folders = _folders(root)
        # A folder without an image is kept: validation names it together with all other bad ones.
        names = [name for name in folders if CASE_NAME.fullmatch(name)]
        if not names:
            raise InputError(
                f"{root}: no cases: folders named case_00000 with {IMAGE} in each are needed"
            )
        unknown = sorted(set(exclude) - set(folders))
        if unknown:
            raise InputError(
                f"config.yaml: data.exclude names {', '.join(unknown)}, not in {root}: remove them"
            )
        kept = sorted(set(names) - set(exclude))
        return [Case(name, root / name / IMAGE, _label_in(root / name)) for name in kept]
    except OSError as error:
        raise _unreadable(root, error) from error


def refuse_misnamed(root: Path, exclude: Iterable[str] = ()) -> None:
    """Raise an InputError if an image lies in a folder that is not named as a case is.

    It would be left out without a word. Hidden folders are nobody's cases.
    """
    try:
        misnamed = [
            name
            for name in _folders(root)
            if not CASE_NAME.fullmatch(name) and not name.startswith(".") and name not in exclude
            if os.path.lexists(root / name / IMAGE)
        ]
    except OSError as error:
        raise _unreadable(root, error) from error
    if misnamed:
        raise InputError(
            f"{root}: {', '.join(map(repr, misnamed))}: {IMAGE} lies there, but no case has such a "
            "name: name it case_ with letters and digits, or name it under data.exclude in "
            "config.yaml"
        )


def _folders(root: Path) -> list[str]:
    """Names of the folders in a data set, and of links to some that are not there."""
    if not root.is_dir():
        raise InputError(
            f"{root}: no such folder: put the KiTS19 cases there "
            f"({root}/case_00000/{IMAGE}, ...) or set data.root in config.yaml; "
            "`make demo` needs no data"
        )
    return sorted(path.name for path in root.iterdir() if path.is_dir() or not path.exists())


def _label_in(folder: Path) -> Path | None:
    label, plain = folder / LABEL, folder / LABEL.removesuffix(".gz")
    if _is_there(label):
        return label
    if _is_there(plain):
        raise InputError(f"{plain}: a label is looked for in {LABEL}: compress it with gzip")
    return None


def _is_there(path: Path) -> bool:
    """Whether there is such a file or link; an OSError if its folder does not say."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _unreadable(root: Path, error: OSError) -> InputError:
    path = error.filename or root
    return InputError(
        f"{path}: cannot be read ({error.strerror}): mend its permissions or the disk"
    )


def find_labels(root: Path) -> dict[str, Path]:
    """Case to label in a data set, or in a flat folder of label maps, such as segmentations.

    Raises
    ------
    InputError
        If there is none, or as from `find_cases`.
    """
    labels = {path.name.removesuffix(NIFTI): path for path in sorted(root.glob(f"*{NIFTI}"))}
    if not labels:
        labels = {case.name: case.label for case in find_cases(root) if case.label is not None}
    if not labels:
        raise InputError(f"{root}: no case has a label: name a folder of labels")
    return labels


def listed_spacings(root: Path) -> dict[str, Any]:
    """Case name to ``voxel_spacing`` in kits.json; empty where there is no such file."""
    path = Path(root) / "kits.json"
    if not os.path.lexists(path):
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}): restore it, or take it away to go on without it"
        ) from error
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
