"""Which cases there are, and where their files lie.

Read while the workflow is planned, so everything here is a look at file names: no image is opened.
This is the only module that knows how a data set is laid out.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from renal.data.lists import read_listed, read_rows
from renal.errors import InputError

Layout = Literal["kits", "nnunet", "flat", "table"]
CASE_NAME = re.compile(r"case_[A-Za-z0-9]+")
SAFE_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")
# What programs that read tables take for something else than a name.
MISTAKEN = {"na", "nan", "null", "none", "inf", "infinity", "true", "false"}
NIFTI, PLAIN = ".nii.gz", ".nii"
# Endings of images that programs for CTs write, of which one format is read.
IMAGES = (NIFTI, PLAIN, ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".dcm")
IMAGE, LABEL = "imaging.nii.gz", "segmentation.nii.gz"
MAJORITY = "aggregated_MAJ_seg.nii.gz"  # KiTS21's label
TABLE = "cases.csv"
CHANNEL = re.compile(r"(.+)_(\d{4})\.nii\.gz")
DESCRIPTION = "dataset.json"  # nnU-Net's


@dataclass(frozen=True)
class Case:
    """One case of the data set.

    Attributes
    ----------
    name : str
        Such as ``case_00012``: a letter, then letters, digits, ``_`` and ``-``.
    image : Path
        The CT, which may be missing: validation names it together with all other bad ones.
    label : Path or None
        None for a case that is only to be segmented. A link to a label that is not there counts as
        a label, and validation names it.
    test : bool
        Whether the case is only to be tested on, and never learned from.
    """

    name: str
    image: Path
    label: Path | None = None
    test: bool = False

    @property
    def labelled(self) -> bool:
        return self.label is not None

    @property
    def files(self) -> dict[str, Path]:
        """The files of the case that there are, by what they are."""
        paths = {"image": self.image, "label": self.label}
        # os.path, to which a file behind a folder that is closed is none: validation names it.
        return {kind: path for kind, path in paths.items() if path and os.path.exists(path)}


def find_cases(root: Path, exclude: Iterable[str] = (), layout: Layout | None = None) -> list[Case]:
    """List the cases in a folder.

    Parameters
    ----------
    root : Path
        The data set. ``kits``: folders with ``imaging.nii.gz`` and, where labelled,
        ``segmentation.nii.gz`` (KiTS21: ``aggregated_MAJ_seg.nii.gz``). ``nnunet``: nnU-Net's raw
        ``imagesTr``, ``labelsTr`` and ``imagesTs``; what ``labelsTs`` has is a test.
        ``flat``: images, to be segmented. ``table``: ``cases.csv`` with a column image and, where
        there are any, label and case; its paths are absolute or relative to the folder.
    exclude : iterable of str
        Names of cases, or of folders as KiTS has them, to leave out.
    layout : str, optional
        One of these; told by what is there if it is not given.

    Returns
    -------
    list of Case
        In order of name. Names that are not safe as they are were made so.

    Raises
    ------
    InputError
        If the folder is missing, cannot be read or holds no case or several layouts, an excluded
        name is not there, two cases have one name, or a file is not where or as it must be.
    """
    root, exclude = Path(root), set(exclude)
    try:
        _refuse_missing(root)
        # What is excluded may be anything.
        entries = [path for path in _visible(root) if path.name not in exclude]
        layout = layout or _layout_of(root, entries)
        cases = LAYOUTS[layout](root, entries)
        names = {case.name for case in cases}
        if unknown := sorted(n for n in exclude - names if not os.path.lexists(root / n)):
            raise InputError(
                f"config.yaml: data.exclude names {', '.join(unknown)}, not in {root}: remove them"
            )
        _refuse_twins(root, cases)
        return sorted((c for c in cases if c.name not in exclude), key=lambda case: case.name)
    except OSError as error:
        raise _unreadable(root, error) from error


def _refuse_missing(root: Path) -> None:
    if not root.is_dir():
        raise InputError(
            f"{root}: no such folder: put the KiTS19 cases there "
            f"({root}/case_00000/{IMAGE}, ...) or set data.root in config.yaml; "
            "`make demo` needs no data"
        )


def _layout_of(root: Path, entries: list[Path]) -> Layout:
    """The layout by what is there; an InputError if that is several, or nothing."""
    files = {path.name for path in entries}
    there: dict[Layout, bool] = {
        "kits": any(_is_of_kits(path) for path in entries),
        "nnunet": bool(files & {"imagesTr", "imagesTs"}),
        "table": TABLE in files,
    }
    found = [layout for layout, is_there in there.items() if is_there]
    if len(found) > 1:
        raise InputError(
            f"{root}: laid out as {' and as '.join(found)}: name one as data.layout in config.yaml"
        )
    if found:
        return found[0]
    if any(name.endswith(NIFTI) for name in files):
        return "flat"
    raise InputError(
        f"{root}: no cases: folders named case_00000 with {IMAGE} in each are needed, nnU-Net's "
        f"imagesTr and labelsTr, files *{NIFTI}, or {TABLE}"
    )


def _refuse_others(folder: Path, others: list[Path]) -> None:
    """Raise an InputError for what may hold cases, beside those of a folder: nothing is left out.

    That is a folder, a link to what is not there, an image of any format, or what is named as a
    case.
    """
    if found := [path.name for path in others if _may_hold_a_case(path)]:
        raise InputError(
            f"{folder}: {', '.join(map(repr, found))}: no case, beside those that are: give it "
            "their form and names, take it away or, where it lies in data.root itself, name it "
            "under data.exclude in config.yaml"
        )


def _may_hold_a_case(path: Path) -> bool:
    """Links to folders are files where a checkout knew no links."""
    named = bool(CASE_NAME.fullmatch(path.name))
    return named or path.is_dir() or not path.exists() or is_image(path)


def is_image(path: Path) -> bool:
    """Whether a file is an image, by its ending."""
    return path.name.lower().endswith(IMAGES)


def _is_of_kits(path: Path) -> bool:
    """Whether a path is a case's folder, or a link to one that is not there."""
    if path.is_dir():
        return bool(CASE_NAME.fullmatch(path.name)) or _has_image(path)
    return bool(CASE_NAME.fullmatch(path.name)) and not path.exists()


def _has_image(folder: Path) -> bool:
    return any(os.path.lexists(path) for path in (folder / IMAGE, (folder / IMAGE).with_suffix("")))


def _in_folders(root: Path, entries: list[Path]) -> list[Case]:
    """KiTS's layout: either all folders are named case_..., or none is."""
    folders = [path for path in entries if _is_of_kits(path)]
    named = [path for path in folders if CASE_NAME.fullmatch(path.name)]
    cases = named or folders
    _refuse_others(root, [path for path in entries if path not in cases])
    # A folder without an image is kept: validation names it together with all other bad ones.
    return [Case(_safe(path.name), _image_in(path), _label_in(path)) for path in cases]


def _of_nnunet(root: Path, entries: list[Path]) -> list[Case]:
    """nnU-Net's raw data; nothing of it is left out without a word."""
    _refuse_other_formats(root / DESCRIPTION)
    # Folders beside them are nnU-Net's own affair.
    _refuse_others(root, [path for path in entries if not path.is_dir()])
    images = {part: _channels(root / f"images{part}") for part in ("Tr", "Ts")}
    labels = {part: _nifti_in(root / f"labels{part}") for part in ("Tr", "Ts")}
    if lost := sorted(images["Tr"].keys() - labels["Tr"].keys()):
        raise InputError(
            f"{root / 'labelsTr'}: no label of {', '.join(lost)}, which imagesTr has: put it back, "
            "or put the image into imagesTs to have it segmented only"
        )
    cases = []
    for part in ("Tr", "Ts"):
        for stem in sorted(images[part].keys() | labels[part].keys()):
            image = root / f"images{part}" / f"{stem}_0000{NIFTI}"
            label = labels[part].get(stem)
            cases.append(Case(_safe(stem), image, label, test=part == "Ts" and label is not None))
    return cases


def _refuse_other_formats(description: Path) -> None:
    values = read_listed(description)
    if values is None:
        return
    if not isinstance(values, dict):
        raise InputError(f"{description}: cannot be read (no names in it): restore it")
    if (ending := values.get("file_ending", NIFTI)) != NIFTI:
        raise InputError(f"{description}: file_ending is {ending}: images must be *{NIFTI}")
    channels = values.get("channel_names", values.get("modality"))
    if isinstance(channels, dict) and len(channels) > 1:
        raise InputError(f"{description}: {len(channels)} channels: one CT a case is expected")


def _nifti_in(folder: Path) -> dict[str, Path]:
    """Name without ending to each file of a folder, which may be missing."""
    return _nifti_among(folder, _visible(folder)) if folder.is_dir() else {}


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _nifti_among(folder: Path, paths: list[Path]) -> dict[str, Path]:
    """The same of some paths in a folder."""
    _refuse_uncompressed(*paths)
    _refuse_others(folder, [path for path in paths if not path.name.endswith(NIFTI)])
    return {p.name.removesuffix(NIFTI): p for p in paths if p.name.endswith(NIFTI)}


def _channels(folder: Path) -> dict[str, Path]:
    """Case to its image in a folder of nnU-Net's."""
    found = {}
    for path in _nifti_in(folder).values():
        matched = CHANNEL.fullmatch(path.name)
        if not matched or matched[2] != "0000":
            raise InputError(
                f"{path}: an image of nnU-Net with one channel ends in _0000{NIFTI}: rename it"
            )
        found[matched[1]] = path
    return found


def _in_one_folder(root: Path, entries: list[Path]) -> list[Case]:
    """A flat folder of images that are only to be segmented."""
    return [Case(_safe(stem), path) for stem, path in _nifti_among(root, entries).items()]


def _in_table(root: Path, entries: list[Path]) -> list[Case]:
    """What cases.csv lists."""
    table = root / TABLE
    cases = []
    for number, row in read_rows(table, "image"):
        image, label = row["image"], row.get("label")
        if not image:
            raise InputError(f"{table}: line {number}: no image: name one or take the line out")
        name = row.get("case") or Path(image).name.removesuffix(NIFTI)
        cases.append(
            Case(_safe(name), _beside(root, image), _beside(root, label) if label else None)
        )
    return cases


def _beside(root: Path, text: str) -> Path:
    return root / Path(text).expanduser()


def _safe(name: str) -> str:
    """A name that is good for a file, a command and a table; an InputError if none can be made."""
    if name.encode(errors="replace").decode() != name:
        raise InputError(f"{name!r}: a name that is no UTF-8: rename it")
    if not re.search(r"[A-Za-z0-9]", name):
        raise InputError(f"{name!r}: a case's name needs letters or digits: rename it")
    return safe_name(name)


def safe_name(name: str) -> str:
    """What `find_cases` calls a case of a name; no case's name if that holds no letter or digit."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-")
    return safe if SAFE_NAME.fullmatch(safe) and safe.lower() not in MISTAKEN else f"case_{safe}"


def _refuse_twins(root: Path, cases: list[Case]) -> None:
    images: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        images[case.name].append(os.path.relpath(case.image, root))
    for name, paths in images.items():
        if len(paths) > 1:
            raise InputError(
                f"{root}: {' and '.join(paths)} would both be case {name}: rename one, or name "
                f"cases in a column case of {TABLE}"
            )


LAYOUTS = {
    "kits": _in_folders,
    "nnunet": _of_nnunet,
    "flat": _in_one_folder,
    "table": _in_table,
}


def _image_in(folder: Path) -> Path:
    image = folder / IMAGE
    if not _is_there(image):
        _refuse_uncompressed(image.with_suffix(""))
    return image


def _label_in(folder: Path) -> Path | None:
    label = folder / LABEL
    found = [path for path in (label, folder / MAJORITY) if _is_there(path)]
    if len(found) > 1:
        raise InputError(f"{folder}: {LABEL} and {MAJORITY}: take one away")
    if found:
        return found[0]
    _refuse_uncompressed(label.with_suffix(""))
    inside = _visible(folder) if folder.is_dir() else []
    if others := [path.name for path in inside if _may_be_a_label(path)]:
        raise InputError(
            f"{folder}: {', '.join(map(repr, others))}: no label by its name, and there is no "
            f"{LABEL}: convert or rename it, or take it away to have the case segmented only"
        )
    return None


def _may_be_a_label(path: Path) -> bool:
    """An image of any format but the CT's own files, or what is left of a label."""
    name = path.name.lower()
    return name.startswith("segmentation.") or (is_image(path) and not name.startswith("imaging."))


def _refuse_uncompressed(*paths: Path) -> None:
    if plain := [path for path in paths if path.name.endswith(PLAIN) and _is_there(path)]:
        raise InputError(f"{plain[0]}: {plain[0].name}.gz is looked for: compress it with gzip")


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


def description_of(root: Path, cases: Iterable[Case]) -> Path | None:
    """The file that says what the label values of a folder's cases mean, where a layout has one."""
    folders = (case.label.parent for case in cases if case.label is not None)
    of_nnunet = any(folder.name.startswith("labelsT") for folder in folders)
    return Path(root) / DESCRIPTION if of_nnunet else None


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


def stand_in_cases(root: Path, folds: int) -> list[Case]:
    """As few cases as make use of every rule, none of which is there.

    For looking at the rules, their graph or their style, on a machine without data.
    """
    *labelled, unlabelled = [Path(root) / f"case_{number:05d}" for number in range(folds + 1)]
    cases = [Case(folder.name, folder / IMAGE, folder / LABEL) for folder in labelled]
    return [*cases, Case(unlabelled.name, unlabelled / IMAGE)]
