"""Voxels of a series: HU by each slice's own scale, every packing, straightened where asked."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread, uid

from renal.errors import InputError
from renal.image.dicom_series import find_series
from renal.image.dicom_volume import read_series

from .dicom_files import (
    SHAPE,
    SPACING,
    body,
    enhanced,
    example_series,
    kidneys,
    position_of,
    series_files,
    slice_file,
    write_files,
)

PACKINGS = {
    "RLELossless": "RLELossless",
    "JPEG2000Lossless": "JPEG2000Lossless",
    "JPEGLSLossless": "JPEGLSLossless",
    "JPEGLosslessSV1": "JPEGLosslessProcess14_1",
}


def read(folder, **options):
    (series,) = find_series(folder).series
    return read_series(series, **options)


def towards_the_feet(slices):
    """From slices as the tests make them to the package's own order."""
    return slices[::-1]


def test_voxels_and_their_places(tmp_path):
    write_files(tmp_path, series_files())
    read_back = read(tmp_path)
    np.testing.assert_array_equal(read_back.volume, towards_the_feet(body()))
    assert read_back.header.shape == SHAPE
    np.testing.assert_allclose(read_back.header.spacing, SPACING)
    last = nib.affines.apply_affine(read_back.header.standard_affine, (0, 2, 3))
    expected = position_of(SHAPE[0] - 1) + np.array([3 * SPACING[2], 2 * SPACING[1], 0])
    np.testing.assert_allclose(last, expected * [-1, -1, 1])
    assert not read_back.remarks


def test_each_slice_has_its_own_scale(tmp_path):
    files = [
        slice_file(pixels, position_of(n), slope=1.0 + n % 2, intercept=-1024.0 - 2 * n)
        for n, pixels in enumerate(body())
    ]
    write_files(tmp_path, files)
    assert np.abs(read(tmp_path).volume - towards_the_feet(body())).max() <= 1


def pack(path, packing):
    """Pack a file by GDCM, which is also what unpacks JPEG."""
    import gdcm

    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(path))
    assert reader.Read()
    syntax = getattr(gdcm.TransferSyntax, PACKINGS[packing])
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert dcmread(path).file_meta.TransferSyntaxUID == getattr(uid, packing)


@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_pixels(packing, tmp_path):
    for path in write_files(tmp_path, series_files()):
        pack(path, packing)
    np.testing.assert_array_equal(read(tmp_path).volume, towards_the_feet(body()))


def test_a_multi_frame_file(tmp_path):
    write_files(tmp_path, [enhanced()])
    read_back = read(tmp_path)
    assert read_back.series.images == SHAPE[0]
    assert np.abs(read_back.volume - towards_the_feet(body())).max() <= 1
    label = towards_the_feet(kidneys())
    np.testing.assert_array_equal(read_back.to_slices(label), kidneys())


def test_a_file_without_its_class(tmp_path):
    write_files(tmp_path, series_files())
    for path in tmp_path.iterdir():
        data = dcmread(path)
        data.SOPClassUID = data.SOPInstanceUID = ""
        data.save_as(path)
    read_back = read(tmp_path)
    np.testing.assert_array_equal(read_back.volume, towards_the_feet(body()))
    assert all(frame.instance for frame in read_back.series.frames)


def test_padding_is_air(tmp_path):
    volume = body()
    volume[:, :2] = -2000
    write_files(tmp_path, series_files(volume, intercept=-3000.0))
    read_back = read(tmp_path)
    assert (read_back.volume[:, :2] == -1024).all()
    assert read_back.padding.voxels == SHAPE[0] * 2 * SHAPE[2]


def padded_files(stored, intercept, **changes):
    """A frame of these stored numbers round the body, as tags of unsigned numbers say, too."""
    volume = np.maximum(body(), intercept).astype(float)
    volume[:, 0], volume[:, 1] = stored[0] + intercept, stored[-1] + intercept
    files = series_files(volume, intercept=intercept, **changes)
    for data in files:
        data.add_new("PixelPaddingValue", "US", stored[0])
        if len(stored) > 1:
            data.add_new("PixelPaddingRangeLimit", "US", stored[1])
    return files


LEFT, TAKEN = "left as it is, since a body has that", "taken for air"
PADDED = {
    "high": ([63536], -1024, {}, -1024, f"62512 HU: {TAKEN}"),
    "a range": ([63540, 63536], -1024, {}, -1024, f"62512 to 62516 HU: {TAKEN}"),
    "low, its tag without a sign": ([63536], -1024, {"PixelRepresentation": 1}, -1024, ""),
    "air": ([0], -1024, {}, -1024, ""),
    "water": ([0], 0, {}, 0, f"0 HU: {LEFT}"),
    "of more bits than are stored": (
        [63536],
        -1024,
        {"BitsStored": 12, "HighBit": 11},
        1072,
        f"1072 HU: {LEFT}",
    ),
}


@pytest.mark.parametrize("name", PADDED)
def test_padding_by_the_header(name, tmp_path):
    stored, intercept, changes, value, words = PADDED[name]
    write_files(tmp_path, padded_files(stored, intercept, **changes))
    read_back = read(tmp_path)
    assert (read_back.volume[:, :2] == value).all()
    within = np.maximum(body(), intercept)[:, 2:]
    np.testing.assert_array_equal(read_back.volume[:, 2:], towards_the_feet(within))
    assert read_back.remarks == ((f"padding by the header, {words}",) if words else ())


def test_damaged_pixels_are_named(tmp_path):
    paths = write_files(tmp_path, series_files())
    paths[3].write_bytes(paths[3].read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{paths[3].name}: its pixels cannot be read"):
        read(tmp_path)


def test_pixels_of_another_size_than_the_header_says_are_named(tmp_path, monkeypatch):
    write_files(tmp_path, series_files())
    small = np.zeros((2, 3), np.uint16)
    monkeypatch.setattr("pydicom.pixels.utils.iter_pixels", lambda *_, **__: iter([small]))
    with pytest.raises(InputError, match=r"cannot be read \(ValueError: \(2, 3\) pixels\): copy"):
        read(tmp_path)


def test_uneven_slices_are_interpolated(tmp_path):
    """Of a ramp along the patient, linear interpolation makes the same ramp again."""
    heights = np.array([0, 8, 16, 26, 34, 40, 48, 56.0])
    ramp = (heights[:, None, None] * 10 - 500) * np.ones((1, *SHAPE[1:]))
    files = [
        slice_file(pixels, position_of(height / 8))
        for pixels, height in zip(ramp, heights, strict=True)
    ]
    write_files(tmp_path, files)
    read_back = read(tmp_path, resample_uneven=True)
    assert read_back.header.spacing[0] == 8
    np.testing.assert_array_equal(read_back.volume[::-1, 0, 0], np.arange(0, 57, 8) * 10 - 500)
    assert "resampled to even ones" in read_back.remarks[0]
    label = np.zeros(read_back.volume.shape, np.uint8)
    label[-4] = 1  # 24 mm up, where the slice at 26 mm is the nearest
    assert np.flatnonzero(read_back.to_slices(label).any(axis=(1, 2))).tolist() == [3]


def test_small_differences_of_distances_add_up_and_are_interpolated_too(tmp_path):
    heights = np.cumsum([0, *[7.7] * 15, *[8.3] * 15])
    ramp = (heights[:, None, None] * 4 - 500) * np.ones((1, *SHAPE[1:]))
    write_files(
        tmp_path,
        [slice_file(p, position_of(h / 8)) for p, h in zip(ramp, heights, strict=True)],
    )
    read_back = read(tmp_path, resample_uneven=True)
    even = np.arange(0, 241, 8) * 4 - 500
    np.testing.assert_allclose(read_back.volume[::-1, 0, 0], even, atol=1)
    assert "7.7 to 8.3 mm: resampled to even ones" in read_back.remarks[0]


def test_a_missing_slice_is_interpolated(tmp_path):
    files = series_files()
    del files[5]
    write_files(tmp_path, files)
    volume = towards_the_feet(read(tmp_path, resample_uneven=True).volume)
    assert len(volume) == SHAPE[0]
    np.testing.assert_array_equal(np.delete(volume, 5, axis=0), np.delete(body(), 5, axis=0))
    between = np.rint((body()[4].astype(float) + body()[6]) / 2)
    np.testing.assert_array_equal(volume[5], between)


def tilted_files(degrees=20.0):
    """Slices that lean back, and a bright rod that runs along the patient through all of them."""
    lean = np.radians(degrees)
    down = np.array([0, np.cos(lean), -np.sin(lean)])
    files, rod = [], np.array([-160 + 32 * 5.0, -144 + 30 * 6.0])
    for number in range(SHAPE[0]):
        pixels = np.full(SHAPE[1:], -1000.0)
        position = position_of(number)
        row = (rod[1] - position[1]) / down[1] / SPACING[1]
        low = int(row)
        pixels[low, 32], pixels[low + 1, 32] = np.array([1 - (row - low), row - low]) * 2000 - 1000
        orientation = [1.0, 0, 0, *(float(value) for value in down)]
        files.append(slice_file(pixels, position, ImageOrientationPatient=orientation))
    return files


def test_a_tilt_is_put_right(tmp_path):
    """The rod, straight along the patient, keeps its place in the patient."""
    write_files(tmp_path, tilted_files())
    read_back = read(tmp_path, untilt=True)
    affine = read_back.header.standard_affine
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    assert read_back.volume.shape[1] > SHAPE[1]  # nothing that was scanned is lost
    for plane in range(SHAPE[0]):
        weights = read_back.volume[plane].astype(float) + 1024
        weights[weights < 100] = 0
        rows, columns = np.indices(weights.shape)
        centre = [plane, (rows * weights).sum(), (columns * weights).sum()]
        centre[1:] = np.array(centre[1:]) / weights.sum()
        x, y, _ = nib.affines.apply_affine(affine, centre) * [-1, -1, 1]
        assert abs(x - 0) < 0.1 and abs(y - 36) < 0.5


def test_a_slight_tilt_is_not_put_right(tmp_path):
    """As its remark says; the affine has it."""
    write_files(tmp_path, tilted_files(0.4))
    read_back = read(tmp_path, untilt=True)
    assert read_back.remarks[-1] == "the gantry was tilted by 0.40 degrees"
    assert read_back.grid.straight and read_back.volume.shape == SHAPE


def test_a_label_goes_back_to_tilted_slices(tmp_path):
    write_files(tmp_path, tilted_files())
    read_back = read(tmp_path, untilt=True)
    found = read_back.to_slices((read_back.volume > -300).astype(np.uint8))
    bright = np.array([plane.max(axis=0)[32] > -1000 for plane in read_back.volume])
    assert found.shape == SHAPE and bright.all()
    rows = [np.flatnonzero(plane[:, 32]).mean() for plane in found]
    np.testing.assert_allclose(rows, 30 / np.cos(np.radians(20.0)), atol=0.6)


def test_the_same_as_simpleitk_of_a_real_series():
    read_back = read(example_series())
    names = [str(frame.path) for frame in read_back.series.frames]
    image = sitk.ReadImage(names)
    np.testing.assert_array_equal(towards_the_feet(read_back.volume), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(read_back.header.spacing[::-1], image.GetSpacing())
    np.testing.assert_allclose(
        read_back.header.affine[:3, 3], np.array(image.GetOrigin()) * [-1, -1, 1]
    )
