"""DICOM series for tests, made with pydicom from a small CT with a body, spine and kidneys."""

import os
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from renal.image.dicom_series import find_series

CT, ENHANCED = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
SHAPE = (12, 48, 64)  # slices from feet to head, rows towards the back, columns towards the left
SPACING = (8.0, 6.0, 5.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
PATIENT, NUMBER = "Doe^Jane", "PID-4711"


def body(shape=SHAPE):
    """(slices, rows, columns) int16 HU: an ellipse of soft tissue with noise in air, marked."""
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    middle = (np.array(shape[1:]) - 1) / 2
    inside = ((rows - middle[0]) / shape[1] * 2.4) ** 2 + (
        (columns - middle[1]) / shape[2] * 2.4
    ) ** 2 < 1
    volume = np.where(inside, 40, -1000) * np.ones((shape[0], 1, 1))
    noise = np.random.default_rng(0).integers(-20, 20, shape)
    return (volume + noise).astype(np.int16)


def kidneys(shape=SHAPE):
    """(slices, rows, columns) uint8: a right kidney with a tumour, and a left one."""
    label = np.zeros(shape, np.uint8)
    label[3:9, 20:30, 16:24] = 1
    label[5:7, 22:26, 18:21] = 2
    label[4:10, 20:29, 42:50] = 1
    return label


def slice_file(pixels, position, *, slope=1.0, intercept=-1024.0, series="1.2.3.4", **changes):
    """A CT image of one slice; `changes` by keyword, None removes an attribute."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CT, generate_uid()
    data.PatientName, data.PatientID = PATIENT, NUMBER
    data.PatientBirthDate, data.PatientSex = "19500101", "F"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", series
    data.StudyID, data.StudyDate, data.StudyTime = "1", "20200101", "120000"
    data.AccessionNumber, data.ReferringPhysicianName = "", ""
    data.SeriesNumber, data.SeriesDescription = 4, "Abdomen venous"
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Manufacturer, data.ConvolutionKernel = "test", "B30f"
    data.FrameOfReferenceUID, data.InstanceNumber = "1.2.3.5", 1
    data.ImagePositionPatient = [float(value) for value in position]
    data.ImageOrientationPatient = list(AXIAL)
    data.PixelSpacing, data.SliceThickness = list(SPACING[1:]), SPACING[0]
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = slope, intercept, "HU"
    store_pixels(data, np.rint((pixels - intercept) / slope).astype(np.uint16))
    for keyword, value in changes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return data


def store_pixels(data, stored):
    """Put (rows, columns) or (frames, rows, columns) uint16 into a data set."""
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = stored.shape[-2:]
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = 0
    data.PixelData = stored.tobytes()


def position_of(index, spacing=SPACING, shape=SHAPE):
    return np.array([-shape[2] / 2 * spacing[2], -shape[1] / 2 * spacing[1], index * spacing[0]])


def series_files(volume=None, **changes):
    """The data sets of a series, from feet to head."""
    volume = body() if volume is None else volume
    return [slice_file(p, position_of(n), **changes) for n, p in enumerate(volume)]


def write_files(folder: Path, files):
    """Write data sets in an order that says nothing; returns their paths in the given order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"IM{(7 * number) % 101:04d}" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        data.save_as(path, enforce_file_format=True)
    return paths


def only(folder):
    """The series in a folder that has one."""
    (series,) = find_series(folder).series
    return series


def enhanced(volume=None):
    """One multi-frame file of all slices, the last one first, with a slope for each frame."""
    volume = (body() if volume is None else volume)[::-1]
    data = slice_file(volume[0], position_of(0), SOPClassUID=ENHANCED)
    for keyword in (
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
        *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    ):
        delattr(data, keyword)
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=list(AXIAL))
    shared.PixelMeasuresSequence = _item(PixelSpacing=list(SPACING[1:]), SliceThickness=SPACING[0])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames, stored = [], []
    for number, pixels in enumerate(volume):
        slope, place = float(1 + number % 2), position_of(len(volume) - 1 - number)
        frame = Dataset()
        frame.PlanePositionSequence = _item(ImagePositionPatient=place.tolist())
        frame.PixelValueTransformationSequence = _item(
            RescaleSlope=slope, RescaleIntercept=-1024.0, RescaleType="HU"
        )
        content = _item(
            StackID="1", InStackPositionNumber=number + 1, DimensionIndexValues=[1, number + 1]
        )
        frame.FrameContentSequence = content
        frames.append(frame)
        stored.append(np.rint((pixels + 1024) / slope))
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    store_pixels(data, np.array(stored).astype(np.uint16))
    data.NumberOfFrames = len(volume)
    return data


def _item(**values):
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def example_series():
    """A real series, in the folder that RENAL_DICOM names."""
    if "RENAL_DICOM" not in os.environ:
        pytest.skip("no real series: RENAL_DICOM names its folder")
    return Path(os.environ["RENAL_DICOM"])
