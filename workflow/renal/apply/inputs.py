"""What is segmented: CTs of any kind, each read and its result written in its own way."""

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from renal.apply.dicom_input import DicomInput, DicomOptions, find_dicom
from renal.data.cases import is_image
from renal.errors import InputError
from renal.image.dicom_headers import is_dicom
from renal.image.folders import files_in
from renal.image.volume import Header, Padding, read_header, read_padded, write_like

ENDINGS = (".nii.gz", ".nii")
log = logging.getLogger("renal")


class Scan(Protocol):
    """A CT that was read.

    Attributes
    ----------
    header : Header
        Its geometry as a NIfTI header has it.
    volume : numpy.ndarray
        (z, y, x) int16, HU.
    padding : Padding
        What was taken for air.
    remarks : tuple of str
        What is unusual, and what was put right.
    """

    @property
    def header(self) -> Header: ...
    @property
    def volume(self) -> np.ndarray: ...
    @property
    def padding(self) -> Padding: ...
    @property
    def remarks(self) -> tuple[str, ...]: ...


class Input(Protocol):
    """A CT to segment.

    Attributes
    ----------
    name : str
        Of its results, without an ending; slashes make folders.
    """

    @property
    def name(self) -> str: ...

    def read(self) -> Scan:
        """Read it; an InputError names the file and the fault."""

    def write(self, scan: Scan, label: np.ndarray, folder: Path) -> Path:
        """Write a label map, (z, y, x) uint8, of what `read` gave; returns the file."""


@dataclass(frozen=True)
class NiftiScan:
    """A CT from a NIfTI file; see `Scan`."""

    header: Header
    volume: np.ndarray
    padding: Padding

    @property
    def remarks(self) -> tuple[str, ...]:
        return self.header.remarks


@dataclass(frozen=True)
class NiftiInput:
    """A CT in a NIfTI file; see `Input`."""

    name: str
    path: Path

    def read(self) -> NiftiScan:
        header = read_header(self.path)
        return NiftiScan(header, *read_padded(header))

    def write(self, scan: Scan, label: np.ndarray, folder: Path) -> Path:
        path = folder / f"{self.name}.nii.gz"
        write_like(path, label, scan.header)
        return path


def find_inputs(given: Path, output: Path, dicom: DicomOptions | None = None) -> list[Input]:
    """The CTs at a path, in order of name.

    Parameters
    ----------
    given : Path
        A NIfTI file, a multi-frame DICOM file, or a folder of either or of DICOM series, also
        nested. Results lie in the same folders beneath `output` as their CTs do beneath it; those
        of DICOM series in `output` itself, since folders are often called by patients.
    output : Path
        Where results will be written: nothing is looked for there.
    dicom : DicomOptions, optional
        Which DICOM series, and how; without it none is looked for.

    Raises
    ------
    InputError
        If there is nothing, two CTs would have results of the same name or results lie among CTs,
        or a choice among DICOM series was not made, or one that is not there.
    """
    paths = list(files_in(given, output)) if given.is_dir() else [given]
    others = [path for path in paths if not _stem(path)]
    series: list[DicomInput] = []
    if dicom and any(map(is_dicom, others)):
        series = find_dicom(given, others, dicom)
    elif dicom and dicom.series:
        raise InputError(f"{given}: --series {dicom.series[0]}: no DICOM there: leave it out")
    if given.is_dir():
        _tell_of_images(given, others)
        paths = [path for path in paths if _stem(path)]
        named = [(str(path.relative_to(given).parent / _stem(path)), path) for path in paths]
    elif series:
        named = []
    else:
        named = [(_stem(given) or given.name, given)]
    if not named and not series:
        raise InputError(
            f"{given}: no {' or '.join(ENDINGS)} file and no DICOM in it: name a folder with CTs"
        )
    paths_of: dict[str, Path] = {}
    for name, path in named:
        if name in paths_of:
            raise InputError(
                f"{path}: its result would have the name of that of {paths_of[name]}: "
                "rename one of them"
            )
        paths_of[name] = path
    _check_apart(given, paths_of, output)
    return [*(NiftiInput(name, path) for name, path in sorted(paths_of.items())), *series]


def _tell_of_images(folder: Path, others: list[Path]) -> None:
    """Log which images are not looked at, since they are of other formats."""
    images = [path for path in others if is_image(path) and not is_dicom(path)]
    if images:
        log.info(
            "%s: left out: %d images that are neither %s nor DICOM: %s",
            folder,
            len(images),
            ", ".join(ENDINGS),
            ", ".join(str(path.relative_to(folder)) for path in images),
        )


def check_folder(folder: Path) -> None:
    """Make a folder for results and see whether they can be written, before hours of work.

    Raises
    ------
    InputError
        If they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror or error}): mend the permissions, or "
            "name another folder"
        ) from error


def _check_apart(given: Path, paths_of: dict[str, Path], output: Path) -> None:
    """Refuse results among CTs, which they would replace: both may have the same name."""
    folders = {os.path.dirname(os.path.realpath(path)) for path in paths_of.values()}
    if given.is_dir():
        folders.add(os.path.realpath(given))
    for name in ["", *paths_of]:
        folder = os.path.realpath((output / f"{name}.json").parent)
        if folder in folders:
            raise InputError(
                f"{folder}: has CTs, which results could replace: name another folder for results"
            )
        result = output / f"{name}.nii.gz"
        if name and result.exists() and not _is_label_map(result):
            raise InputError(
                f"{result}: is no label map, and would be replaced by one: name another folder for "
                "results"
            )


def _is_label_map(path: Path) -> bool:
    """Whether a file may be an earlier result: those are of bytes, and no CT is."""
    try:
        return bool(read_header(path).nifti.get_data_dtype() == np.uint8)
    except InputError:
        return True


def _stem(path: Path) -> str:
    """The name of a NIfTI file without its ending; empty for other files."""
    for ending in ENDINGS:
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    return ""
