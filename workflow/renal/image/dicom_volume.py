"""A DICOM series as a volume in the project's axis order, and label maps back on its slices."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from nibabel import orientations
from scipy import ndimage

from renal.errors import InputError
from renal.image.dicom_checks import TILT_LIMIT, check_series
from renal.image.dicom_headers import Frame, pydicom
from renal.image.dicom_series import Series
from renal.image.placement import affine_of
from renal.image.volume import (
    AIR_HU,
    HOUNSFIELD_LIMITS,
    ORIENTATION,
    UNWARNED,
    Header,
    Padding,
    fill_padding,
)

TO_RAS = np.diag([-1.0, -1.0, 1.0])  # DICOM's x and y point the other way
BODY_HU = 2000  # above are metal and padding alone


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie that was made from slices.

    Attributes
    ----------
    heights : numpy.ndarray
        (slices,) float64: of each slice of the series, in steps of the volume's z axis.
    shifts : numpy.ndarray
        (slices, 2) float64: of each slice, in pixels along rows (x) and columns (y).
    shape : tuple of int
        Columns, rows and slices of the volume.
    start : numpy.ndarray
        (2,) float64: where the volume begins, in pixels from the first slice's first one.
    step : float
        Of the z axis, mm.
    """

    heights: np.ndarray
    shifts: np.ndarray
    shape: tuple[int, int, int]
    start: np.ndarray
    step: float

    @property
    def straight(self) -> bool:
        """Whether the slices are the volume's planes as they are."""
        return not self.shifts.any() and np.array_equal(self.heights, np.arange(self.shape[2]))


@dataclass(frozen=True)
class DicomVolume:
    """A series as a volume.

    Attributes
    ----------
    series : Series
        Where it came from.
    header : Header
        Its geometry as a NIfTI header has it.
    volume : numpy.ndarray
        (z, y, x) int16, HU.
    padding : Padding
        What was taken for air.
    remarks : tuple of str
        What is unusual, and what was put right.
    grid : Grid
        How slices and volume belong together.
    """

    series: Series
    header: Header
    volume: np.ndarray
    padding: Padding
    remarks: tuple[str, ...]
    grid: Grid

    def to_slices(self, label: np.ndarray) -> np.ndarray:
        """A label map on the series' own slices; see the function of that name."""
        return to_slices(label, self.header, self.grid, self.series)


def read_series(
    series: Series, *, resample_uneven: bool = False, untilt: bool = False
) -> DicomVolume:
    """Check and read a series.

    Parameters
    ----------
    series : Series
        From `find_series`.
    resample_uneven : bool
        Interpolate uneven slices to even ones, linearly, at their usual distance.
    untilt : bool
        Shift the slices of a tilted gantry so that they lie straight above each other, with air
        where nothing was scanned.

    Raises
    ------
    InputError
        If the slices make no volume, or a file is damaged or packed in a way that no installed
        library reads.
    """
    remarks = check_series(series, resample_uneven=resample_uneven, untilt=untilt)
    remarks += _padding_remarks(series)
    grid = _grid_of(series)
    header = _header_of(series, grid)
    if grid.straight:
        stored = np.empty(grid.shape, np.int16, order="F")
        for place, plane in _planes(series):
            stored[:, :, place] = plane.T
    else:
        stored = _straightened(series, grid)
    padding = fill_padding(stored)
    volume = orientations.apply_orientation(stored, header.to_standard)
    return DicomVolume(series, header, volume, padding, (*header.remarks, *remarks), grid)


def _grid_of(series: Series) -> Grid:
    frames, distances, uneven = series.frames, series.distances, series.uneven
    rows, columns = frames[0].matrix
    count = len(frames)
    if uneven:
        count = round(distances[-1] / series.step) + 1
    step = float(distances[-1]) / (count - 1)
    heights = distances / step if uneven else np.arange(count, dtype=np.float64)
    shifts = np.zeros((len(frames), 2))
    start, more = np.zeros(2), np.zeros(2, int)
    if series.tilt > TILT_LIMIT:
        shifts = series.sideways / np.array(frames[0].spacing[::-1])
        start = np.minimum(shifts.min(axis=0), 0)
        more = np.ceil(np.ptp(shifts, axis=0) - 1e-6).astype(int)
        shifts = shifts - start
    shape = (columns + int(more[0]), rows + int(more[1]), count)
    return Grid(heights, shifts, shape, start, step)


def _header_of(series: Series, grid: Grid) -> Header:
    frame = series.frames[0]
    rows, columns = np.array(frame.orientation).reshape(2, 3)
    between_rows, between_columns = frame.spacing
    affine = np.eye(4)
    axes = [rows * between_columns, columns * between_rows]
    upward = np.cross(rows, columns) * grid.step
    if not grid.shifts.any():  # a slight tilt stays in the affine, where its remark comes from
        last, count = np.array(series.frames[-1].position), grid.shape[2]
        upward = (last - np.array(frame.position)) / (count - 1)
    affine[:3, :3] = TO_RAS @ np.array([*axes, upward]).T
    first = np.array(frame.position) + grid.start @ np.array(axes)
    affine[:3, 3] = TO_RAS @ first
    nifti = nib.Nifti1Header()
    nifti.set_data_shape(grid.shape)
    nifti.set_data_dtype(np.int16)
    nifti.set_xyzt_units("mm")
    nifti.set_zooms(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))
    nifti.set_sform(affine, "scanner")
    stated, remarks = affine_of(nifti, grid.shape, series.path)
    return Header(series.path, nifti, grid.shape, stated, remarks)


def _planes(series: Series) -> Iterator[tuple[int, np.ndarray]]:
    """Number and HU, (rows, columns) int16, of each slice, file by file."""
    by_file: dict[Path, list[int]] = {}
    for place, frame in enumerate(series.frames):
        by_file.setdefault(frame.path, []).append(place)
    for path, places in by_file.items():
        frames = [series.frames[place] for place in places]
        yield from zip(places, _decoded(path, frames), strict=True)


@UNWARNED
def _decoded(path: Path, frames: list[Frame]) -> Iterator[np.ndarray]:
    pydicom()
    from pydicom.pixels.utils import iter_pixels

    try:
        numbers = [frame.number for frame in frames]
        for frame, stored in zip(frames, iter_pixels(path, indices=numbers, raw=True), strict=True):
            if stored.shape != frame.matrix:
                raise ValueError(f"{stored.shape} pixels")
            values = stored.astype(np.float32) * np.float32(frame.slope)
            values += np.float32(frame.intercept)
            if _is_air(frame.padding):
                low, high = frame.padding
                values[(values > low - 0.5) & (values < high + 0.5)] = AIR_HU
            yield np.rint(np.clip(values, *HOUNSFIELD_LIMITS)).astype(np.int16)
    except Exception as error:  # codecs raise almost anything
        told = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: its pixels cannot be read ({type(error).__name__}: {told}): "
            "copy the file again, or export it uncompressed"
        ) from error


def _is_air(padding: tuple[float, ...]) -> bool:
    """Whether what a header calls padding can be told from a body by its HU."""
    return bool(padding) and padding[0] > BODY_HU


def _padding_remarks(series: Series) -> list[str]:
    """What was done with padding by the header; what is as low as air needs no word."""
    remarks: dict[str, str] = {}
    for padding in (frame.padding for frame in series.frames):
        if padding and padding[1] > AIR_HU:
            done = "taken for air" if _is_air(padding) else "left as it is, since a body has that"
            hu = " to ".join(f"{end:g}" for end in sorted(set(padding)))
            remarks.setdefault(done, f"padding by the header, {hu} HU: {done}")
    return list(remarks.values())


def _straightened(series: Series, grid: Grid) -> np.ndarray:
    """(columns, rows, slices) int16, interpolated linearly within slices and between them."""
    columns, rows, count = grid.shape
    planes = np.full((len(series.frames), rows, columns), AIR_HU, np.int16)
    height, width = series.frames[0].matrix
    for place, plane in _planes(series):
        planes[place, :height, :width] = plane
        if grid.shifts[place].any():
            planes[place] = _shifted(planes[place], grid.shifts[place], order=1)
    stored = np.empty(grid.shape, np.int16, order="F")
    above = np.clip(np.searchsorted(grid.heights, np.arange(count)), 1, len(planes) - 1)
    for index, upper in enumerate(above):
        low, high = grid.heights[upper - 1 : upper + 1]
        share = np.float32(np.clip((index - low) / (high - low), 0, 1))
        mixed = planes[upper - 1] * (1 - share) + planes[upper] * share
        stored[:, :, index] = np.rint(mixed).T
    return stored


def _shifted(plane: np.ndarray, shift: np.ndarray, order: Literal[0, 1]) -> np.ndarray:
    """A slice moved by so many pixels along x and y; outside is air, or background."""
    outside = AIR_HU if order else 0
    moved: np.ndarray = ndimage.shift(
        plane.astype(np.float32),
        (float(shift[1]), float(shift[0])),
        order=order,
        mode="grid-constant",
        cval=outside,
    )
    rounded: np.ndarray = np.rint(moved).astype(plane.dtype)
    return rounded


def to_slices(label: np.ndarray, header: Header, grid: Grid, series: Series) -> np.ndarray:
    """A label map on the slices of a series.

    Parameters
    ----------
    label : numpy.ndarray
        (z, y, x) uint8, of the volume.
    header : Header
        Of the volume.
    grid : Grid
        Of the volume.
    series : Series
        Where it came from.

    Returns
    -------
    numpy.ndarray
        (slices, rows, columns) uint8, in the order of `series.frames`; where the volume was
        resampled, the nearest voxel of it.
    """
    back = orientations.ornt_transform(ORIENTATION, orientations.io_orientation(header.affine))
    planes = orientations.apply_orientation(label, back).T
    if grid.straight:
        straight: np.ndarray = np.ascontiguousarray(planes)
        return straight
    rows, columns = series.frames[0].matrix
    slices = np.empty((len(series.frames), rows, columns), np.uint8)
    for place, (height, shift) in enumerate(zip(grid.heights, grid.shifts, strict=True)):
        plane = planes[round(float(height))]
        moved = _shifted(plane, -shift, order=0) if shift.any() else plane
        slices[place] = moved[:rows, :columns]
    return slices
