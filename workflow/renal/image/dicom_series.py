"""CT series in a folder of DICOM files: found, told apart, and checked by their headers.

A series is used if its slices are parallel, of one matrix, evenly spaced and one above the other.
What is not is refused with the name of a file, or put right on demand: see `dicom_volume`.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from renal.errors import InputError
from renal.image.dicom_headers import DIRECTION_TOLERANCE, DicomFile, Frame, read_file
from renal.image.folders import files_in

DOUBLED_MM = 0.05  # slices that are nearer lie in the same place
EVEN_SHARE = 0.05  # of the spacing, by which a distance of neighbours may differ from it
# Degrees of the way from slice to slice from their normal, as of axes in `placement`.
TILT_LIMIT, TILT_REMARK = 0.5, 0.05
ASTRAY_SHARE = 0.5  # of the spacing, by which a slice may lie off its place among even ones
SIDEWAYS_SHARE = 0.5  # of a pixel, by which a slice may lie beside the way from first to last


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
        return [*(names[name] for name in wanted), *damaged]
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


def check_series(
    series: Series, *, resample_uneven: bool = False, untilt: bool = False
) -> list[str]:
    """Remarks on a series, among them what is put right when it is read.

    Parameters
    ----------
    series : Series
        From `find_series`.
    resample_uneven, untilt : bool
        Whether uneven distances, or a tilted gantry, are to be put right rather than refused.

    Raises
    ------
    InputError
        With the name of a file, if the slices make no volume.
    """
    if series.fault:
        raise InputError(series.fault)
    frames = series.frames
    if len(frames) < 2:
        raise InputError(f"{frames[0].path}: one slice only: a volume is needed")
    _check_alike(series)
    _check_files(series)
    for before, frame, gap in zip(frames, frames[1:], np.diff(series.distances), strict=False):
        if gap < DOUBLED_MM:
            raise InputError(
                f"{frame.path}: lies where {before.path.name} does: remove one, or export each "
                "scan by itself"
            )
    remarks = [*_tilted(series, untilt), *_uneven(series, resample_uneven)]
    if not (series.study and series.uid and frames[0].frame_of_reference):
        remarks.append(
            "UIDs were removed: a DICOM result has others, and viewers do not show it on the CT"
        )
    return remarks


def _check_alike(series: Series) -> None:
    """Refuse slices that differ in what all slices of a volume share."""
    parts: dict[str, Callable[[Frame], Any]] = {
        "matrix": lambda frame: frame.matrix,
        "orientation": lambda frame: frame.orientation,
        "pixel spacing": lambda frame: frame.spacing,
        "frame of reference": lambda frame: frame.frame_of_reference,
    }
    for title, part in parts.items():
        usual, _ = Counter(map(part, series.frames)).most_common(1)[0]
        for frame in series.frames:
            value = part(frame)
            same = value == usual or (
                isinstance(value, tuple)
                and np.allclose(value, usual, rtol=0, atol=DIRECTION_TOLERANCE)
            )
            if not same:
                told = "" if title == "frame of reference" else f" ({value}, of others {usual})"
                raise InputError(
                    f"{frame.path}: another {title}{told} than the other slices of its series: "
                    "export each scan by itself"
                )


def _check_files(series: Series) -> None:
    """Refuse several multi-frame files, and scans of which each has slices among the other's."""
    frames = series.frames
    paths = {frame.path for frame in frames}
    several = next((frame for frame in frames if frame.multi_frame and len(paths) > 1), None)
    if several is not None:
        raise InputError(
            f"{several.path}: one of {len(paths)} files of a series, some of them multi-frame: no "
            "segmentation object can refer to it: convert it to NIfTI"
        )
    begun: set[str] = set()
    for before, frame in pairwise(frames):
        if frame.acquisition == before.acquisition:
            continue
        begun.add(before.acquisition)
        if frame.acquisition in begun:
            raise InputError(
                f"{frame.path}: slices of acquisition {frame.acquisition} lie among those of "
                f"{before.acquisition}, as two phases do: export each scan by itself"
            )


def _tilted(series: Series, untilt: bool) -> list[str]:
    distances, sideways = series.distances, series.sideways
    way = distances[:, None] / distances[-1] * sideways[-1]
    beside = np.abs(sideways - way).max(axis=1)
    farthest = int(beside.argmax())
    if beside[farthest] > SIDEWAYS_SHARE * min(series.frames[0].spacing):
        raise InputError(
            f"{series.frames[farthest].path}: lies {beside[farthest]:.1f} mm beside the way from "
            "the first to the last slice: export the series again"
        )
    words = f"the gantry was tilted by {series.tilt:.2f} degrees"
    if series.tilt <= TILT_LIMIT:
        return [words] if series.tilt > TILT_REMARK else []
    if not untilt:
        raise InputError(f"{series.frames[-1].path}: {words}: --untilt puts it right")
    return [f"{words}: resampled to a straight grid"]


def _uneven(series: Series, resample_uneven: bool) -> list[str]:
    if not series.uneven:
        return []
    gaps = np.diff(series.distances)
    if resample_uneven:
        return [f"uneven slices, {gaps.min():.3g} to {gaps.max():.3g} mm: resampled to even ones"]
    if series.uneven_gaps.size:
        before, step = int(series.uneven_gaps[0]), series.step
        place, name = before + 1, series.frames[before].path.name
        missing = round(gaps[before] / step) - 1
        whole = np.abs(gaps / step - np.rint(gaps / step)) <= EVEN_SHARE
        what = f"{missing} missing before it" if missing > 0 and whole.all() else "uneven slices"
        why = f"{what} ({gaps[before]:.3g} mm from {name}, others {step:.3g} mm)"
    else:
        place = int(series.astray.argmax())
        why = f"uneven slices ({series.astray[place]:.1f} mm from its place among even ones)"
    raise InputError(
        f"{series.frames[place].path}: {why}: export the series again, or --resample-uneven "
        "interpolates"
    )
