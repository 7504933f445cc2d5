"""CT series in a folder of DICOM files: found, told apart by their headers, and chosen."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from renal.errors import InputError
from renal.image.dicom_headers import DicomFile, Frame, read_file
from renal.image.folders import files_in

EVEN_SHARE = 0.05  # of the spacing, by which a distance of neighbours may differ from it
ASTRAY_SHARE = 0.5  # of the spacing, by which a slice may lie off its place among even ones


@dataclass(frozen=True)
class Series:
    """The images of one series.

    Attributes
    ----------
    name : str
        Made from a hash of its UID, so that it names no patient; results are called by it.
    uid, study : str
        Series and Study Instance UID; empty where they were removed.
    modality, number, description, kernel, phase : str
        As the headers have them.
    images : int
        Slices, or other images.
    frames : tuple of Frame
        From feet to head or as the normal of the slices points.
    fault : str
        Why nothing can be made of it, or empty.
    damaged : bool
        Whether it is files whose headers cannot be read, which may be of any series.
    """

    name: str
    uid: str
    study: str
    modality: str
    number: str
    description: str
    kernel: str
    phase: str
    images: int
    frames: tuple[Frame, ...]
    fault: str
    damaged: bool

    def __post_init__(self) -> None:
        if self.frames:
            order = np.argsort(self.distances, kind="stable")
            object.__setattr__(self, "frames", tuple(self.frames[place] for place in order))

    @property
    def path(self) -> Path:
        """The folder of its first file, for messages."""
        return self.frames[0].path.parent

    @property
    def distances(self) -> np.ndarray:
        """(slices,) float64, mm from the first slice along its normal; others differ a little."""
        positions = np.array([frame.position for frame in self.frames])
        rows, columns = np.array(self.frames[0].orientation).reshape(2, 3)
        distances: np.ndarray = (positions - positions[0]) @ np.cross(rows, columns)
        return distances

    @property
    def sideways(self) -> np.ndarray:
        """(slices, 2) float64, mm along rows and along columns, from the first slice."""
        positions = np.array([frame.position for frame in self.frames])
        within = np.array(self.frames[0].orientation).reshape(2, 3)
        beside: np.ndarray = (positions - positions[0]) @ within.T
        return beside

    @property
    def step(self) -> float:
        """The usual distance of neighbours, mm."""
        return float(np.median(np.diff(self.distances)))

    @property
    def tilt(self) -> float:
        """Degrees between the way from first to last slice and their normal: a tilted gantry's."""
        along, aside = self.distances[-1], self.sideways[-1]
        return float(np.degrees(np.arctan2(np.hypot(*aside), along)))

    @property
    def astray(self) -> np.ndarray:
        """(slices,) float64, mm from where slices would lie that are even from first to last."""
        even = np.linspace(0, self.distances[-1], len(self.frames))
        astray: np.ndarray = np.abs(self.distances - even)
        return astray

    @property
    def uneven_gaps(self) -> np.ndarray:
        """Numbers of the slices of which the next one is nearer or farther than usual."""
        return np.flatnonzero(np.abs(np.diff(self.distances) - self.step) > EVEN_SHARE * self.step)

    @property
    def uneven(self) -> bool:
        """Whether single distances differ, or small differences have added up."""
        return self.uneven_gaps.size > 0 or self.astray.max() > ASTRAY_SHARE * self.step


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes
    ----------
    series : list of Series
        In order of study and number.
    left_out : dict of str to list of Path
        What is no image of a scan, to its files.
    """

    series: list[Series]
    left_out: dict[str, list[Path]]

    @property
    def remarks(self) -> list[str]:
        """What was left out, a line each."""
        return [
            f"left out: {len(paths)} {kind} ({paths[0].name}{', ...' * (len(paths) > 1)})"
            for kind, paths in sorted(self.left_out.items())
        ]


def find_series(folder: Path, files: Iterable[Path] | None = None) -> Found:
    """Find the series in a folder and in all folders within it.

    Parameters
    ----------
    folder : Path
        Read only. One file is looked at as well.
    files : iterable of Path, optional
        Those in it that are looked at; otherwise all.

    Raises
    ------
    InputError
        If the folder is missing. A damaged file is the fault of its series, or of one of its own.
    """
    if not folder.exists():
        raise InputError(f"{folder}: missing: name a folder of DICOM files")
    groups: dict[tuple[str, ...], list[DicomFile]] = {}
    no_scans: dict[str, list[Path]] = {}
    if files is None:
        files = files_in(folder) if folder.is_dir() else [folder]
    for path in files:
        file = read_file(path)
        if file is None or file.left_out:
            kind = file.left_out if file else "files that are not DICOM"
            no_scans.setdefault(kind, []).append(path)
        else:
            groups.setdefault(_series_key(file), []).append(file)
    series = []
    for group in groups.values():
        if any(file.placed for file in group):
            series.append(_gathered(group))
        else:
            kept = no_scans.setdefault("images without a place in space", [])
            kept.extend(file.path for file in group)
    series.sort(key=lambda s: (s.study, s.number.rjust(12), s.name))
    return Found(series, no_scans)


def _series_key(file: DicomFile) -> tuple[str, ...]:
    """What the files of one series share, also where its UID was removed."""
    if file.damaged:
        return (str(file.path.parent),)
    if file.series:
        return (file.series,)
    return ("", str(file.path.parent), file.number, file.description)


def _gathered(files: list[DicomFile]) -> Series:
    first = files[0]
    frames = tuple(frame for file in files for frame in file.frames)
    instances = sorted(frame.instance for frame in frames)
    identity = first.series or " ".join(instances).strip() or str(first.path)
    faults = [file.fault for file in files if file.fault]
    faults += [
        f"{file.path}: of another study than {first.path.name}, whose series UID it has: export "
        "each scan by itself"
        for file in files
        if file.study != first.study
    ]
    return Series(
        name=series_name(identity),
        uid=first.series,
        study=first.study,
        modality=first.modality,
        number=first.number,
        description=first.description,
        kernel=first.kernel,
        phase=first.phase,
        images=sum(file.images for file in files),
        frames=() if faults else frames,
        fault=faults[0] if faults else "",
        damaged=first.damaged,
    )


def series_name(uid: str) -> str:
    """The name of a series' results: the beginning of a hash of its UID."""
    return f"series_{hashlib.sha256(uid.encode()).hexdigest()[:8]}"


def choose_series(found: Found, wanted: Sequence[str], folder: Path) -> list[Series]:
    """The CT series to use: those that are named, or the only one of each study.

    Parameters
    ----------
    found : Found
        What the folder holds.
    wanted : sequence of str
        Names or UIDs; ``all`` for every CT series; empty to choose where there is no choice.
    folder : Path
        For messages.

    Raises
    ------
    InputError
        If there is none, if a name is that of no series, or if more than one would do.
    """
    for name, count in Counter(series.name for series in found.series).items():
        if count > 1:
            raise InputError(
                f"{folder}: {count} series are {name}, since their images have the same UIDs: "
                "segment each folder by itself"
            )
    # What may be of any series is told whatever is chosen.
    damaged = [series for series in found.series if series.damaged]
    usable = [series for series in found.series if series.modality == "CT" and not series.damaged]
    if not usable and not damaged:
        others = sorted({series.modality or "unknown" for series in found.series})
        told = f"only modality {', '.join(others)}" if others else "no images of a scan"
        raise InputError(f"{folder}: {told}, a CT is needed: `renal series` lists what is there")
    if list(wanted) == ["all"]:
        return [*usable, *damaged]
    if wanted:
        names = {series.name: series for series in usable}
        names |= {series.uid: series for series in usable if series.uid}
        if unknown := [name for name in wanted if name not in names]:
            raise InputError(f"{folder}: {unknown[0]}: no CT series of that name: see `series`")
        named = {names[name].name: names[name] for name in wanted}
        return [*named.values(), *damaged]
    for study, count in Counter(series.study for series in usable).items():
        if count == 1:
            continue
        several = ", ".join(
            f"{series.name} ({series.number}, {series.images} slices)"
            for series in usable
            if series.study == study
        )
        raise InputError(
            f"{folder}: {count} CT series in one study: {several}: name one with --series, "
            "or all of them with --series all"
        )
    return [*usable, *damaged]
