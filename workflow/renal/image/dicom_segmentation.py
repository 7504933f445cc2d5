"""DICOM segmentation objects (SEG): label maps on the slices of the series that they belong to.

Each label value is a segment of its own, so that segments never overlap and the label map can be
read back from them: the kidney's segments are what its tumours leave of it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from renal.errors import InputError
from renal.files import replacing
from renal.image.boxes import bounding_box, slices
from renal.image.dicom_headers import CT_STORAGE, class_of, instance_of, pydicom
from renal.image.dicom_volume import DicomVolume
from renal.image.sides import LEFT, RIGHT, UNTOLD, kidney_sides
from renal.labels import KITS19, Code, Labels

if TYPE_CHECKING:
    from pydicom import Dataset

SIDES = {
    RIGHT: ("Right ", Code("SCT", "24028007", "Right")),
    LEFT: ("Left ", Code("SCT", "7771000", "Left")),
    UNTOLD: ("", None),
}
ARTIFICIAL_INTELLIGENCE = Code("DCM", "123110", "Artificial Intelligence")
NOTICE = "Research use, not a medical device"
RESAMPLED_NOTICE = f"{NOTICE}; slices were resampled"
# What an image may lack and a segmentation must have, empty if need be.
PATIENT_AND_STUDY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)


@dataclass(frozen=True)
class Algorithm:
    """What made a segmentation.

    Attributes
    ----------
    name, version : str
        Such as a method's row and the version of its models.
    package : str
        Hash of the models' file.
    """

    name: str
    version: str
    package: str


@dataclass(frozen=True)
class Segment:
    """One segment: its name, colour (#rrggbb) and codes.

    `side` is right or left where that is told, `organ` the one that a lesion lies in.
    """

    title: str
    colour: str
    category: Code
    type: Code
    side: Code | None = None
    organ: Code | None = None


def numbered_segments(
    label: np.ndarray, sides: np.ndarray, labels: Labels = KITS19
) -> tuple[np.ndarray, list[Segment]]:
    """Segments of a label map, the kidney's by sides; those that are empty are left out.

    Parameters
    ----------
    label : numpy.ndarray
        (z, y, x) uint8.
    sides : numpy.ndarray
        (z, y, x) uint8, from `kidney_sides`.
    labels : Labels
        What the label values are.

    Returns
    -------
    numbers : numpy.ndarray
        (z, y, x) uint8: of the segment that a voxel belongs to, from 1; 0 for none.
    segments : list of Segment
        In order of number.
    """
    numbers = np.zeros_like(label)
    segments: list[Segment] = []
    organ = labels.regions[0]
    box = bounding_box(label > 0)
    if box is None:
        return numbers, segments
    part, sides = slices(box), sides[slices(box)]
    for region in labels.regions:
        values = [value for value in labels.tissues if labels.innermost(value) == region]
        title = region.title
        if region is not organ and len(values) == 1:  # cysts are the masses that are no tumour
            title = labels.tissues[values[0]].capitalize()
        own = np.isin(label[part], values)
        whole = Segment(title, region.colour, region.category, region.type)
        if region.lesion:
            parts = [(replace(whole, organ=organ.type), own)]
        else:
            parts = [
                (replace(whole, title=f"{prefix}{title.lower()}".capitalize(), side=code),
                 own & (sides == side))
                for side, (prefix, code) in SIDES.items()
            ]  # fmt: skip
        for segment, mask in parts:
            if mask.any():
                segments.append(segment)
                numbers[part][mask] = len(segments)
    return numbers, segments


def write_segmentation(
    path: Path,
    label: np.ndarray,
    source: DicomVolume,
    algorithm: Algorithm,
    *,
    labels: Labels = KITS19,
    labelmap: bool = False,
) -> list[Segment]:
    """Write a label map as a DICOM-SEG object on the slices of its series.

    The same label map of the same series and algorithm has the same SOP Instance UID, so that
    sending it twice stores it once.

    Parameters
    ----------
    path : Path
        A .dcm file, written in one step; none is written where nothing was found.
    label : numpy.ndarray
        (z, y, x) uint8, of the volume.
    source : DicomVolume
        The series.
    algorithm : Algorithm
        What made the label map.
    labels : Labels
        What its values are.
    labelmap : bool
        One map in JPEG-LS (LABELMAP) in place of a bit mask for each segment (BINARY): smaller, and
        unknown to older viewers.

    Returns
    -------
    list of Segment
        What was written; empty if nothing was found.

    Raises
    ------
    InputError
        If DICOM's libraries are not installed, or the series cannot be referred to.
    """
    dicom = pydicom()
    kidney = labels.regions[0].mask(label)
    numbers, segments = numbered_segments(
        label, kidney_sides(kidney, source.volume, source.header.spacing), labels
    )
    if not segments:
        return []
    images = _source_images(source)
    planes = source.to_slices(numbers)
    if len(images) == 1:  # in the order of the file's frames, which its segmentation keeps
        order = np.argsort([frame.number for frame in source.series.frames])
        planes = planes[order]
    kept = [number for number in range(1, len(segments) + 1) if (planes == number).any()]
    if len(kept) < len(segments):  # the nearest voxels of resampled slices may leave one out
        planes = np.searchsorted([0, *kept], planes).astype(np.uint8)
        segments = [segments[number - 1] for number in kept]
    if not segments:
        return []
    dataset = _dataset(
        images,
        planes,
        segments,
        algorithm,
        labelmap=labelmap,
        notice=NOTICE if source.grid.straight else RESAMPLED_NOTICE,
    )
    with replacing(path) as temporary:
        dicom.dcmwrite(temporary, dataset, enforce_file_format=True)
    return segments


def _dataset(
    images: list["Dataset"],
    planes: np.ndarray,
    segments: list[Segment],
    algorithm: Algorithm,
    *,
    labelmap: bool,
    notice: str,
) -> "Dataset":
    import highdicom
    from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

    kind = "LABELMAP" if labelmap else "BINARY"
    content = hashlib.sha256(planes.data).hexdigest()
    identity = [kind, algorithm.package, content, *_instances(images)]
    # highdicom refuses what the standard forbids, such as a sex of W; it belongs there as it is.
    told = {keyword: images[0].get(keyword) for keyword in PATIENT_AND_STUDY}
    for keyword in told:
        setattr(images[0], keyword, None)
    try:
        dataset = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=planes,
            segmentation_type=kind,
            segment_descriptions=list(_descriptions(segments, algorithm)),
            series_instance_uid=_uid(*identity, "series"),
            series_number=1000 + abs(int(images[0].get("SeriesNumber") or 0)),
            sop_instance_uid=_uid(*identity, "instance"),
            instance_number=1,
            manufacturer="renal",
            manufacturer_model_name=algorithm.name,
            software_versions=algorithm.version,
            device_serial_number=algorithm.package[:64],
            content_description=notice,
            series_description=f"Kidney and tumour, {algorithm.name}"[:64],
            transfer_syntax_uid=JPEGLSLossless if labelmap else ExplicitVRLittleEndian,
            specific_character_set=_characters(images[0]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        file = getattr(images[0], "filename", "")
        raise InputError(
            f"{file}: no segmentation object can refer to this series ({type(error).__name__}: "
            f"{_first_words(error)}): convert it to NIfTI"
        ) from error
    for keyword, value in told.items():
        setattr(dataset, keyword, value)
    return dataset


def _descriptions(segments: list[Segment], algorithm: Algorithm) -> Iterator[Any]:
    import highdicom

    made_by = highdicom.AlgorithmIdentificationSequence(
        name=algorithm.name,
        family=_coded(ARTIFICIAL_INTELLIGENCE),
        version=algorithm.version,
        parameters={"package_sha256": algorithm.package},
    )
    for number, segment in enumerate(segments, start=1):
        description = highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=segment.title,
            segmented_property_category=_coded(segment.category),
            segmented_property_type=_coded(segment.type),
            algorithm_type="AUTOMATIC",
            algorithm_identification=made_by,
            anatomic_regions=[_coded(segment.organ)] if segment.organ else None,
            display_color=highdicom.color.CIELabColor.from_rgb(
                *(int(segment.colour[place : place + 2], 16) for place in (1, 3, 5))
            ),
        )
        if segment.side:
            kind = description.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [_coded(segment.side)]
        yield description


def _coded(code: Code) -> Any:
    import highdicom

    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _source_images(source: DicomVolume) -> list["Dataset"]:
    """Headers of the series' files in the order of its slices, with what anonymisers removed."""
    paths = list(dict.fromkeys(frame.path for frame in source.series.frames))
    images = [pydicom().dcmread(path, stop_before_pixels=True) for path in paths]
    for number, image in enumerate(images):
        image.SOPClassUID = class_of(image) or CT_STORAGE
        image.SOPInstanceUID = instance_of(image) or _uid(source.series.name, str(number))
        if not image.get("SliceThickness"):
            image.SliceThickness = round(source.series.step, 4)
    instances = _instances(images)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        for image in images:
            if not image.get(keyword):
                setattr(image, keyword, _uid(keyword, *instances))
    return images


def _characters(image: "Dataset") -> str | None:
    """UTF-8 where the image has another set than ASCII: highdicom refuses those of East Asia."""
    return "ISO_IR 192" if image.get("SpecificCharacterSet") else None


def _instances(images: list["Dataset"]) -> list[str]:
    return [str(image.SOPInstanceUID) for image in images]


def _uid(*parts: str) -> str:
    """A UID that is the same for the same parts."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=list(parts)))


def _first_words(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
