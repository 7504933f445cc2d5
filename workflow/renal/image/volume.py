"""CT volumes and label maps in NIfTI files: the only module that knows the format.

Every array leaves this module in KiTS19's own axis order, (z, y, x): slices towards the feet
(Inferior), rows towards the back (Posterior), columns towards the patient's Left. Files in any
other orientation are turned on reading and turned back on writing.
"""

import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel import orientations

from renal.errors import InputError
from renal.files import replacing
from renal.image.placement import affine_of
from renal.labels import KITS19, Labels

ORIENTATION = orientations.axcodes2ornt(("I", "P", "L"))
HOUNSFIELD_LIMITS = (-32768, 32767)
# Lower values are no measurement, but what scanners and programs put outside of the scanned field
# (-2000, -2048, -3024, -32768); the least that a scanner measures, air, is -1024.
PADDING_HU, AIR_HU = -1500, -1024
# The fields of a NIfTI header that place its voxels in space.
QUATERNION = ("qform_code", "quatern_b", "quatern_c", "quatern_d")
QFORM = (*QUATERNION, "qoffset_x", "qoffset_y", "qoffset_z")
SFORM = ("sform_code", "srow_x", "srow_y", "srow_z")
GEOMETRY = ("pixdim", "xyzt_units", *QFORM, *SFORM)
LARGEST_SLICE = 4096  # rows or columns; scanners have 512 to 2048, and the body costs memory
# Bytes of int16 that a header may promise for a packed one, above a size that memory is asked for
# anyhow. CTs have 2, and 5 if half of one is padding; gzip goes up to 1032.
LARGEST_RATIO, SMALL_BYTES = 50, 200_000_000
SLAB = 1 << 20  # voxels that are read at once
FORMATS: tuple[Any, ...] = (nib.Nifti1Header, nib.Nifti2Header)
# What reading a file that is missing, cut off or altered raises.
UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    zlib.error,
    isal_zlib.error,  # type: ignore[assignment]  # a class, which its stub takes for an instance
)


@dataclass(frozen=True)
class Header:
    """What a NIfTI header says about a volume, before any voxel is read.

    Attributes
    ----------
    path : Path
        The file.
    file_shape : tuple of int
        Shape as stored.
    affine : numpy.ndarray
        (4, 4) float64, voxel index of the file to RAS mm, from the sform, or the qform where
        there is no sform (nine KiTS19 labels have a qform only).
    shape : tuple of int
        Shape in (z, y, x) order.
    spacing : tuple of float
        Voxel size in mm in (z, y, x) order.
    remarks : tuple of str
        What is unusual about the header but usable.
    """

    path: Path
    nifti: nib.Nifti1Header
    file_shape: tuple[int, ...]
    affine: np.ndarray
    remarks: tuple[str, ...] = ()

    @cached_property
    def to_standard(self) -> np.ndarray:
        """(3, 2) nibabel orientation that takes the file's axes to (z, y, x)."""
        stored = orientations.io_orientation(self.affine)
        turn: np.ndarray = orientations.ornt_transform(stored, ORIENTATION)
        return turn

    @property
    def _file_axes(self) -> list[int]:
        return [int(np.flatnonzero(self.to_standard[:, 0] == axis)[0]) for axis in range(3)]

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = (int(self.file_shape[axis]) for axis in self._file_axes)
        return z, y, x

    @property
    def spacing(self) -> tuple[float, float, float]:
        sizes = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        z, y, x = (float(sizes[axis]) for axis in self._file_axes)
        return z, y, x

    @property
    def standard_affine(self) -> np.ndarray:
        """(4, 4) float64, (z, y, x) index to RAS mm, whatever order the file's axes have."""
        turn = orientations.inv_ornt_aff(self.to_standard, self.file_shape)
        return np.asarray(self.affine @ turn)


@dataclass(frozen=True)
class Padding:
    """What lay below `PADDING_HU` in a CT and was taken for air.

    Attributes
    ----------
    voxels : int
        How many there were.
    least : int
        The least value of the file.
    scattered : int
        How many of them had another value than the least; padding has one value.
    """

    voxels: int
    least: int
    scattered: int


def read_header(path: Path, maximum_voxels: int | None = None) -> Header:
    """Read and check the header of a NIfTI-1 or NIfTI-2 file, plain or gzipped.

    Parameters
    ----------
    path : Path
        A .nii or .nii.gz file with one three-dimensional volume.
    maximum_voxels : int, optional
        Refuse larger volumes before anything of them is read.

    Raises
    ------
    InputError
        If the file is missing or no regular file, is not NIfTI, is not three-dimensional, or if
        its spacing or affine is not usable or contradicts itself.
    """
    path = Path(path)
    nifti = _read_nifti_header(path)
    try:
        file_shape = tuple(int(n) for n in nifti.get_data_shape())
        stored_type = nifti.get_data_dtype()
        nifti.get_slope_inter()
        if not 0 <= nifti["vox_offset"] < 1 << 31:
            raise ValueError(f"vox_offset {nifti['vox_offset']}")
    except Exception as error:
        raise InputError(f"{path}: damaged header ({error}): copy the file again") from error
    while len(file_shape) > 3 and file_shape[-1] == 1:
        file_shape = file_shape[:-1]
    if len(file_shape) != 3 or min(file_shape) < 2:
        raise InputError(
            f"{path}: shape {file_shape}, a volume of three axes is needed: store one volume a file"
        )
    if stored_type.kind not in "iuf" or stored_type.itemsize > 8:
        raise InputError(f"{path}: voxels of type {stored_type}: store numbers of 64 bits at most")
    voxels = int(np.prod(file_shape, dtype=np.int64))
    if maximum_voxels is not None and voxels > maximum_voxels:
        raise InputError(
            f"{path}: {voxels} voxels, more than data.maximum_voxels ({maximum_voxels}): "
            "check the file, or raise the limit in config.yaml"
        )
    header = Header(path, nifti, file_shape, *affine_of(nifti, file_shape, path))
    if max(header.shape[1:]) > LARGEST_SLICE:
        raise InputError(
            f"{path}: slices of {header.shape[1]} x {header.shape[2]} pixels, no CT has more than "
            f"{LARGEST_SLICE}: check the file and its orientation"
        )
    return header


def _read_nifti_header(path: Path) -> nib.Nifti1Header:
    try:
        # Opening a pipe waits for its writer, and a device may never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: no regular file: put a .nii or .nii.gz file there")
        with _open(path) as stream:
            block = stream.read(540)
    except FileNotFoundError:
        raise InputError(f"{path}: missing: put it there or exclude the case") from None
    except UNREADABLE as error:
        packing = ", or pack it with gzip" if isinstance(error, igzip.BadGzipFile) else ""
        remedy = "mend its permissions" if isinstance(error, PermissionError) else "copy it again"
        raise InputError(f"{path}: not readable ({error}): {remedy}{packing}") from error
    for kind in (kind for kind in FORMATS if len(block) >= kind.sizeof_hdr):
        size = kind.sizeof_hdr
        nifti = kind(block[:size], check=False)
        if nifti["sizeof_hdr"] != size:
            nifti = nifti.as_byteswapped()
        if nifti["sizeof_hdr"] == size and nifti["magic"].item() == kind.single_magic:
            return nifti if kind is nib.Nifti1Header else _as_nifti1(nifti, path)
    words = "not a NIfTI file: convert it to .nii.gz" if block else "empty: copy the file again"
    raise InputError(f"{path}: {words}")


@np.errstate(all="ignore")  # what a smaller field cannot hold is refused as in any header
def _as_nifti1(second: nib.Nifti1Header, path: Path) -> nib.Nifti1Header:
    """A NIfTI-2 header as NIfTI-1, which says the same in smaller fields."""
    if not (abs(second["dim"]) < 1 << 15).all():
        raise InputError(
            f"{path}: dim {second['dim'].tolist()}: no CT is that large: copy it again"
        )
    first = nib.Nifti1Header(endianness=second.endianness)
    for field in ("dim", "datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter", *GEOMETRY):
        first[field] = second[field]
    if second["vox_offset"] == 0:
        first["vox_offset"] = second.single_vox_offset
    return first


# What a cast cannot hold is found and told by the functions, so numpy need not warn of it.
UNWARNED = np.errstate(invalid="ignore", over="ignore")


def read_volume(header: Header) -> np.ndarray:
    """Read the voxels of a CT as int16 HU; see `read_padded`."""
    return read_padded(header)[0]


@UNWARNED
def read_padded(header: Header) -> tuple[np.ndarray, Padding]:
    """Read the voxels of a CT as int16 HU, with padding taken for air.

    Parameters
    ----------
    header : Header
        From `read_header`.

    Returns
    -------
    volume : numpy.ndarray
        (z, y, x) int16, HU. For KiTS19's files a view in which z is the fastest axis in memory,
        because copying 278 M voxels into C order costs more than all other preparation.
    padding : Padding
        What was taken for air.

    Raises
    ------
    InputError
        If the file is cut off or damaged, a bomb, or holds NaN or infinite voxels.
    """
    _refuse_bomb(header)
    slope, intercept = header.nifti.get_slope_inter()
    volume = np.empty(int(np.prod(header.file_shape)), np.int16)
    finite = True
    for place, stored in _slabs(header):
        if stored.dtype == np.int16 and slope in (None, 1.0) and intercept in (None, 0.0):
            volume[place] = stored
            continue
        values = stored.astype(np.float32)
        if slope is not None:
            values = values * np.float32(slope) + np.float32(intercept)
        finite &= bool(np.isfinite(values).all())
        volume[place] = np.rint(np.clip(values, *HOUNSFIELD_LIMITS))
    if not finite:
        raise InputError(
            f"{header.path}: NaN or infinite voxels: convert it again or exclude the case"
        )
    padding = fill_padding(volume)
    return _turned(volume, header), padding


def _refuse_bomb(header: Header) -> None:
    """Refuse, before it is read, what needs far more than memory was asked for by its packed size.

    It is not for labels, which take half of what their image does however well they are packed.
    """
    promised = int(np.prod(header.file_shape)) * np.dtype(np.int16).itemsize
    packed = header.path.stat().st_size
    if promised > max(SMALL_BYTES, LARGEST_RATIO * packed):
        raise InputError(
            f"{header.path}: {packed / 1e6:.1f} MB that unpack to {promised / 1e6:.0f}, over "
            f"{LARGEST_RATIO} times as much, which no CT does: copy it again or exclude the case"
        )


def fill_padding(volume: np.ndarray) -> Padding:
    """Set what lies below `PADDING_HU` to air, in place."""
    least = int(volume.min())
    if least >= PADDING_HU:
        return Padding(0, least, 0)
    padded = volume < PADDING_HU
    voxels = int(np.count_nonzero(padded))
    padding = Padding(voxels, least, voxels - int(np.count_nonzero(volume == least)))
    np.copyto(volume, AIR_HU, where=padded)
    return padding


@UNWARNED
def read_label(header: Header, labels: Labels = KITS19) -> np.ndarray:
    """Read a label map.

    Parameters
    ----------
    header : Header
        From `read_header`.
    labels : Labels
        The label values that there are.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8.

    Raises
    ------
    InputError
        If the file is damaged or holds anything else than label values.
    """
    slope, intercept = header.nifti.get_slope_inter()
    scaled = slope not in (None, 1.0) or intercept not in (None, 0.0)
    label = np.empty(int(np.prod(header.file_shape)), np.uint8)
    unknown: list[float] = []
    for place, stored in _slabs(header):
        values = stored * slope + intercept if scaled else stored
        label[place] = values
        wrong = (label[place] != values) | (label[place] >= labels.count)
        if not unknown and wrong.any():
            unknown = np.unique(values[wrong])[:3].tolist()
    if unknown:
        raise InputError(
            f"{header.path}: label values {unknown}: only {labels.legend} are allowed: mend the "
            "label, exclude the case, or say in data.labels what they are"
        )
    return _turned(label, header)


def _turned(voxels: np.ndarray, header: Header) -> np.ndarray:
    """A view of what a file holds, first axis fastest, as (z, y, x)."""
    stored = voxels.reshape(header.file_shape, order="F")
    turned: np.ndarray = orientations.apply_orientation(stored, header.to_standard)
    return turned


def write_like(path: Path, label: np.ndarray, header: Header) -> None:
    """Write a label map in the geometry of the image that it belongs to.

    Parameters
    ----------
    path : Path
        A .nii.gz file, written in one step.
    label : numpy.ndarray
        (z, y, x) uint8.
    header : Header
        The image's header: its shape and geometry are taken over.
    """
    back = orientations.ornt_transform(ORIENTATION, orientations.io_orientation(header.affine))
    stored = orientations.apply_orientation(label, back)
    nifti = nib.Nifti1Header()
    nifti.set_data_dtype(np.uint8)
    # The stored numbers, not an affine made from them, so that nothing is rounded twice.
    for field in GEOMETRY:
        nifti[field] = header.nifti[field]
    _save(path, nib.Nifti1Image(stored.astype(np.uint8, copy=False), None, nifti))


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write `array` as it is, with `affine` as its sform, in one step."""
    _save(path, nib.Nifti1Image(array, affine))


def _save(path: Path, image: nib.Nifti1Image) -> None:
    # nibabel's own compression is single-threaded zlib, four times slower than igzip. Without the
    # temporary name and the time in its header, the same image gives the same bytes.
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        igzip.IGzipFile("", "wb", compresslevel=2, fileobj=file, mtime=0) as stream,
    ):
        stream.write(image.to_bytes())


def _open(path: Path) -> BufferedIOBase:
    return igzip.IGzipFile(path, "rb") if path.name.endswith(".gz") else open(path, "rb")


def _slabs(header: Header) -> Iterator[tuple[slice, np.ndarray]]:
    """The stored numbers, first axis fastest, `SLAB` at a time, so that no type needs much memory.

    A slab is overwritten by the next one. That the file is whole is known after the last.
    """
    voxels = int(np.prod(header.file_shape))
    slab = np.empty(min(SLAB, voxels), header.nifti.get_data_dtype())
    try:
        with _open(header.path) as stream:
            stream.seek(max(int(header.nifti["vox_offset"]), 352))
            for start in range(0, voxels, SLAB):
                stored = slab[: voxels - start]
                if stream.readinto(stored.view(np.uint8).data) < stored.nbytes:
                    raise EOFError("the file ends early")
                yield slice(start, start + len(stored)), stored
            # Reading on to the end makes gzip compare its checksum.
            if stream.read(1):
                raise EOFError("the file holds more than its header says")
    except UNREADABLE as error:
        raise InputError(f"{header.path}: damaged ({error}): copy the file again") from error
