"""What the headers of DICOM files say: the frames of CT images, and what is no CT image.

Nothing of a header that could name a patient is kept, logged or put into a message: pydicom's own
warnings quote values, so they are silenced.
"""

import logging
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from renal.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and its multi-frame kinds, .1 to .4
DIRECTION_TOLERANCE = 1e-3  # of a component of unit vectors, and of their products
READ = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber"),
    *("FrameOfReferenceUID", "Modality", "ImageType", "SeriesDescription", "ConvolutionKernel"),
    *("ContrastBolusAgent", "ContrastBolusStartTime", "AcquisitionTime", "AcquisitionNumber"),
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PixelSpacing"),
    *("ImagePositionPatient", "ImageOrientationPatient"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "BitsStored", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]


@dataclass(frozen=True)
class Frame:
    """One slice of a CT: a file, or a frame of a multi-frame file.

    Attributes
    ----------
    path : Path
        The file.
    number : int
        Of the frame in the file, from 0.
    instance : str
        SOP Instance UID of the file.
    frame_of_reference : str
        UID of the space in which positions are meant.
    position : tuple of float
        Centre of the first pixel, (x, y, z) mm, towards Left, Posterior and Superior.
    orientation : tuple of float
        Directions of a row and of a column, six numbers.
    spacing : tuple of float
        Between rows and between columns, mm.
    matrix : tuple of int
        Rows and columns.
    slope, intercept : float
        From stored numbers to HU.
    padding : tuple of float
        Least and largest HU of what is no measurement; empty where the header names none.
    acquisition : str
        Number of the scan that it was made from; several may be one series.
    multi_frame : bool
        Whether the file is of the multi-frame kind, though it have one frame.
    """

    path: Path
    number: int
    instance: str
    frame_of_reference: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    matrix: tuple[int, int]
    slope: float
    intercept: float
    padding: tuple[float, ...]
    acquisition: str
    multi_frame: bool


@dataclass(frozen=True)
class DicomFile:
    """What is kept of a file's header.

    Attributes
    ----------
    path : Path
        The file.
    left_out : str
        Why it is no image of a scan (a localiser, a report), or empty.
    study, series, modality, number, description, kernel, phase : str
        Of the series that it belongs to; the description may hold what people typed.
    images : int
        Its frames.
    frames : tuple of Frame
        Those of a CT; empty where `fault` says why they cannot be used.
    fault : str
        One line, or empty.
    placed : bool
        Whether the header says where the image lies.
    damaged : bool
        Whether the header cannot be read.
    """

    path: Path
    left_out: str = ""
    study: str = ""
    series: str = ""
    modality: str = ""
    number: str = ""
    description: str = ""
    kernel: str = ""
    phase: str = ""
    images: int = 1
    frames: tuple[Frame, ...] = ()
    fault: str = ""
    placed: bool = field(default=True)
    damaged: bool = False


def pydicom() -> ModuleType:
    """The library, which is an optional one, told to quote no values.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise InputError(
            "DICOM needs more libraries: `make setup` installs them; otherwise "
            "pip install -e '.[dicom]' in the clone"
        ) from None
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    for name in ("pydicom", "highdicom", "dicomweb_client"):
        warnings.filterwarnings("ignore", module=name)
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return pydicom


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do; pipes and devices are not opened.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): mend it") from error


def read_file(path: Path) -> DicomFile | None:
    """Read a file's header; None if it is not DICOM. What is damaged has that as its fault.

    Raises
    ------
    InputError
        If pydicom is not installed.
    """
    if not is_dicom(path):
        return None
    dicom = pydicom()
    try:
        header = dicom.dcmread(path, stop_before_pixels=True, specific_tags=READ)
        return _described(path, header)
    except Exception as error:  # a damaged header makes pydicom raise almost anything
        fault = f"{path}: damaged DICOM header ({type(error).__name__}): copy the file again"
        return DicomFile(path, fault=fault, damaged=True)


def class_of(header: "Dataset") -> str:
    """SOP class of an image; anonymisers leave it empty at times, with another copy in front."""
    front = getattr(header, "file_meta", {})
    return str(header.get("SOPClassUID") or front.get("MediaStorageSOPClassUID") or "")


def instance_of(header: "Dataset") -> str:
    """SOP Instance UID of an image, likewise."""
    front = getattr(header, "file_meta", {})
    return str(header.get("SOPInstanceUID") or front.get("MediaStorageSOPInstanceUID") or "")


def _described(path: Path, header: "Dataset") -> DicomFile:
    if why := _why_left_out(header):
        return DicomFile(path, left_out=why)
    modality = _text(header, "Modality")
    frames: tuple[Frame, ...] = ()
    fault, placed = "", True
    images = int(header.get("NumberOfFrames") or 1)
    if modality != "CT":
        fault = f"modality {modality or 'unknown'}: a CT is needed"
    else:
        try:
            frames = tuple(_frame(path, header, number) for number in range(images))
        except _Lacking as lack:
            placed = lack.what != "ImagePositionPatient"
            fault = f"{path}: no {lack.what} in the header: export the series again"
        except InputError as error:
            fault = str(error)
    return DicomFile(
        path,
        study=_text(header, "StudyInstanceUID"),
        series=_text(header, "SeriesInstanceUID"),
        modality=modality,
        number=_text(header, "SeriesNumber"),
        description=_text(header, "SeriesDescription"),
        kernel=_text(header, "ConvolutionKernel"),
        phase=_phase(header),
        images=images,
        frames=frames,
        fault=fault,
        placed=placed,
    )


def _why_left_out(header: "Dataset") -> str:
    """What a file is that is no image of a scan, in the plural; empty for an image of one."""
    kind = header.get("ImageType") or []
    sop_class, modality = class_of(header), _text(header, "Modality")
    if f"{sop_class}.".startswith(f"{SECONDARY_CAPTURE}."):
        return "secondary captures"
    if "LOCALIZER" in kind:
        return "localisers"
    if not header.get("Rows"):
        if f"{sop_class}.".startswith(f"{CT_STORAGE}."):
            raise EOFError("the header ends early")
        return "dose and other reports" if modality == "SR" else "files without an image"
    if modality == "SEG":
        return "segmentations"
    if header.get("SamplesPerPixel", 1) != 1:
        return "colour pictures"
    return ""


class _Lacking(Exception):
    """The header does not say what it must."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def _frame(path: Path, header: "Dataset", number: int) -> Frame:
    slope, intercept, kind = (
        _value(header, number, keyword, "PixelValueTransformationSequence")
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType")
    )
    if slope is None or intercept is None:
        raise _Lacking("RescaleSlope and RescaleIntercept")
    if kind not in (None, "", "HU"):
        raise InputError(f"{path}: RescaleType {kind}: HU are needed: choose another series")
    frame = Frame(
        path=path,
        number=number,
        instance=instance_of(header),
        frame_of_reference=_text(header, "FrameOfReferenceUID"),
        position=_numbers(header, number, "ImagePositionPatient", "PlanePositionSequence"),
        orientation=_numbers(header, number, "ImageOrientationPatient", "PlaneOrientationSequence"),
        spacing=_numbers(header, number, "PixelSpacing", "PixelMeasuresSequence"),
        matrix=(int(header.Rows), int(header.Columns)),
        slope=float(slope),
        intercept=float(intercept),
        padding=tuple(sorted(slope * stored + intercept for stored in _padding(header))),
        acquisition=str(
            _value(header, number, "FrameAcquisitionNumber", "FrameContentSequence")
            or header.get("AcquisitionNumber", "")
        ),
        multi_frame="PerFrameFunctionalGroupsSequence" in header,
    )
    _check_numbers(frame)
    return frame


def _check_numbers(frame: Frame) -> None:
    if min(frame.spacing) <= 0:
        raise InputError(
            f"{frame.path}: PixelSpacing {frame.spacing[0]:g} x {frame.spacing[1]:g}: export the "
            "series again"
        )
    numbers = (*frame.position, *frame.orientation, *frame.spacing, frame.slope, frame.intercept)
    if not all(map(math.isfinite, numbers)) or frame.slope == 0:
        raise InputError(
            f"{frame.path}: a place or scale that is no number: export the series again"
        )
    rows, columns = frame.orientation[:3], frame.orientation[3:]
    products = [_product(rows, rows), _product(columns, columns)]
    if max(abs(product - 1) for product in products) > DIRECTION_TOLERANCE or (
        abs(_product(rows, columns)) > DIRECTION_TOLERANCE
    ):
        raise InputError(
            f"{frame.path}: ImageOrientationPatient is not two perpendicular directions of "
            "length 1: export the series again"
        )


def _product(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _padding(header: "Dataset") -> tuple[int, ...]:
    """First and last stored number of padding, in bits and sign of the pixels."""
    size = 1 << int(header.get("BitsStored") or 16)
    least = -size // 2 if header.get("PixelRepresentation") else 0
    value, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return ()
    ends = (value, limit if isinstance(limit, int) else value)
    return tuple((end - least) % size + least for end in ends)


NUMBERS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}


def _numbers(header: "Dataset", number: int, keyword: str, group: str) -> tuple[float, ...]:
    values = _value(header, number, keyword, group)
    if values is None or len(values) != NUMBERS[keyword]:
        raise _Lacking(keyword)
    return tuple(float(value) for value in values)


def _value(header: "Dataset", number: int, keyword: str, group: str) -> Any:
    """A value of a frame: of its own group, of the shared one, or of the file."""
    own = header.get("PerFrameFunctionalGroupsSequence")
    shared = header.get("SharedFunctionalGroupsSequence")
    for place in (own and own[number], shared and shared[0]):
        if place and place.get(group):
            return place[group].value[0].get(keyword)
    return header.get(keyword)


def _phase(header: "Dataset") -> str:
    """The contrast agent, and how long after its injection the scan began, where that is told."""
    agent = _text(header, "ContrastBolusAgent")
    begins = [_seconds(header.get(word)) for word in ("ContrastBolusStartTime", "AcquisitionTime")]
    if begins[0] is None or begins[1] is None or not 0 < begins[1] - begins[0] < 3600:
        return agent
    return f"{agent or 'contrast'} {begins[1] - begins[0]:.0f} s".strip()


def _seconds(time: Any) -> float | None:
    """Seconds of a day from HHMMSS.FFFFFF."""
    try:
        text = str(time)
        return 3600 * int(text[:2]) + 60 * int(text[2:4]) + float(text[4:])
    except ValueError:
        return None


def _text(header: "Dataset", keyword: str) -> str:
    value = header.get(keyword)
    if value is None:
        return ""
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    return " ".join(map(str, value)) if several else " ".join(str(value).split())
