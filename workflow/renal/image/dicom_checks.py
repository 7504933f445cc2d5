"""Whether the slices of a DICOM series make a volume, by their headers.

They do if they are parallel, of one matrix, evenly spaced and one above the other. A series whose
slices are not is refused with the name of a file, or put right on demand: see `dicom_volume`.
"""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from renal.errors import InputError
from renal.image.dicom_headers import DIRECTION_TOLERANCE, Frame
from renal.image.dicom_series import EVEN_SHARE, Series

DOUBLED_MM = 0.05  # slices that are nearer lie in the same place
# Degrees of the way from slice to slice from their normal, as of axes in `placement`.
TILT_LIMIT, TILT_REMARK = 0.5, 0.05
SIDEWAYS_SHARE = 0.5  # of a pixel, by which a slice may lie beside the way from first to last


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
    _check_instances(frames)
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


def _check_instances(frames: tuple[Frame, ...]) -> None:
    """Refuse files with one UID, as some anonymisers leave them."""
    named: dict[str, Frame] = {}
    for frame in frames:
        other = named.setdefault(frame.instance, frame)
        if frame.instance and other.path != frame.path:
            raise InputError(
                f"{frame.path}: has the SOP Instance UID of {other.path.name}, by which a "
                "segmentation object refers to a slice: convert it to NIfTI"
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
