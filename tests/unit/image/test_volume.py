"""Volumes: every orientation and encoding is read right, everything else is refused in a line."""

import gzip
import itertools
import os
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import igzip

from renal.errors import InputError
from renal.image.volume import (
    Padding,
    read_header,
    read_label,
    read_padded,
    read_volume,
    write_like,
    write_nifti,
)

SHAPE, SPACING = (5, 6, 7), (3.0, 0.75, 0.5)
ORIGIN = (12.5, -40.0, 7.25)
# The direction of each letter in RAS coordinates: axis and sign.
LETTERS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
ALL_CODES = [
    "".join(codes)
    for axes in itertools.permutations(["RL", "AP", "SI"])
    for codes in itertools.product(*axes)
]


def standard_volume(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(-1000, 2000, shape).astype(np.int16)


def standard_label(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def to_file(volume, codes, spacing=SPACING):
    """Turn a (z, y, x) volume into a file's axes, and the affine of that file; by hand."""
    standard = {LETTERS[code][0]: (axis, LETTERS[code][1]) for axis, code in enumerate("IPL")}
    affine = np.eye(4)
    affine[:3, :3] = 0
    affine[:3, 3] = ORIGIN
    order, flips = [], []
    for column, code in enumerate(codes):
        world, sign = LETTERS[code]
        axis, standard_sign = standard[world]
        order.append(axis)
        flips.append(slice(None, None, sign * standard_sign))
        affine[world, column] = sign * spacing[axis]
    return volume.transpose(order)[tuple(flips)], affine


def save(path, array, affine, *, change=None, byte_order="<"):
    """Write with nibabel; `change` is called with the header before."""
    image = nib.Nifti1Image(array, affine, nib.Nifti1Header(endianness=byte_order))
    image.set_data_dtype(array.dtype)
    if change:
        change(image.header)
    nib.save(image, path)
    return path


def save_damaged(path, change, array=None):
    """Write a file in KiTS19's layout whose header block was changed after all checks."""
    array = standard_volume() if array is None else array
    raw = bytearray(nib.Nifti1Image(array, to_file(standard_volume(), "IPL")[1]).to_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    change(header)
    raw[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(raw), 1))
    return path


def refused(path, *, label=False, limit=10**6):
    """Read a file that must be refused, and return the message."""
    with pytest.raises(InputError) as told:
        header = read_header(path, limit)
        (read_label if label else read_volume)(header)
    message = str(told.value)
    assert path.name in message and "\n" not in message
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "imaging.nii.gz"


# -- what is read right -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["imaging.nii.gz", "imaging.nii"])
def test_kits19_layout_is_read_as_stored(tmp_path, name):
    volume = standard_volume((40, 64, 99))
    array, affine = to_file(volume, "IPL")
    header = read_header(save(tmp_path / name, array, affine))
    read = read_volume(header)
    np.testing.assert_array_equal(read, volume)
    assert read.dtype == np.int16
    assert header.shape == header.file_shape == (40, 64, 99)
    assert header.spacing == SPACING
    np.testing.assert_array_equal(header.affine, affine)
    assert read.flags.f_contiguous  # not copied


def test_every_orientation_is_turned_and_written_back(tmp_path):
    assert len(ALL_CODES) == 48
    volume, label = standard_volume(), standard_label()
    for codes in ALL_CODES:
        array, affine = to_file(volume, codes)
        header = read_header(save(tmp_path / f"{codes}.nii", array, affine))
        np.testing.assert_array_equal(read_volume(header), volume, err_msg=codes)
        assert header.shape == SHAPE and header.spacing == SPACING
        written = tmp_path / f"{codes}-label.nii.gz"
        write_like(written, label, header)
        image = nib.load(written)
        np.testing.assert_array_equal(image.dataobj, to_file(label, codes)[0], err_msg=codes)
        np.testing.assert_array_equal(image.affine, affine)
        assert image.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(read_label(read_header(written)), label)


@pytest.mark.parametrize("codes", ["IPL", "RAS", "LPS", "PSR", "AIL"])
@pytest.mark.parametrize("degrees", [0, 12])
def test_simpleitk_reads_the_same(path, codes, degrees):
    array, affine = to_file(standard_volume(), codes)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    tilt = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    affine[:3, :3] = tilt @ affine[:3, :3]
    header = read_header(save(path, array, affine))
    image = sitk.ReadImage(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, array)
    turned = sitk.DICOMOrient(image, "IPL")
    np.testing.assert_array_equal(read_volume(header), sitk.GetArrayFromImage(turned).T)
    np.testing.assert_allclose(header.spacing, turned.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(header.spacing, SPACING, rtol=1e-6)

    label = standard_label()
    write_like(path.with_name("label.nii.gz"), label, header)
    written = sitk.ReadImage(path.with_name("label.nii.gz"))
    assert written.GetSize() == image.GetSize()
    for geometry in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(written, geometry)(), getattr(image, geometry)())
    turned = sitk.DICOMOrient(written, "IPL")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(turned).T, label)


@pytest.mark.parametrize("quaternion_factor", [None, 0])
def test_a_qform_alone_gives_the_geometry(path, quaternion_factor):
    array, affine = to_file(standard_volume(), "IPL")

    def qform_only(header):
        header.set_qform(affine, code=1)
        header.set_sform(None, code=0)

    save(path, array, affine, change=qform_only)
    if quaternion_factor is not None:  # legal, and to be taken for 1
        raw = bytearray(gzip.decompress(path.read_bytes()))
        header = nib.Nifti1Header(bytes(raw[:348]), check=False)
        header["pixdim"][0] = quaternion_factor
        raw[:348] = header.binaryblock
        path.write_bytes(gzip.compress(bytes(raw)))
        affine = nib.load(path).affine
    header = read_header(path)
    assert header.nifti["sform_code"] == 0 and header.nifti["qform_code"] == 1
    np.testing.assert_allclose(header.affine, affine, atol=1e-5)
    write_like(path.with_name("label.nii.gz"), standard_label(), header)
    np.testing.assert_allclose(nib.load(path.with_name("label.nii.gz")).affine, affine, atol=1e-5)


@pytest.mark.parametrize("name", ["imaging.nii.gz", "imaging.nii"])
@pytest.mark.parametrize("byte_order", "<>")
def test_nifti_2_is_read_as_nifti_1(tmp_path, name, byte_order):
    array, affine = to_file(standard_volume(), "LPS")
    image = nib.Nifti2Image(array, affine, nib.Nifti2Header(endianness=byte_order))
    image.header.set_data_dtype(array.dtype.newbyteorder(byte_order))
    nib.save(image, tmp_path / name)
    header = read_header(tmp_path / name)
    np.testing.assert_array_equal(read_volume(header), standard_volume())
    np.testing.assert_allclose(header.affine, affine, atol=1e-5)
    assert header.spacing == SPACING
    write_like(tmp_path / "label.nii.gz", standard_label(), header)
    written = read_header(tmp_path / "label.nii.gz")
    np.testing.assert_array_equal(read_label(written), standard_label())
    np.testing.assert_array_equal(written.affine, header.affine)


def test_a_nifti_2_header_that_does_not_say_where_voxels_begin(path):
    array, affine = to_file(standard_volume(), "IPL")
    raw = bytearray(nib.Nifti2Image(array, affine).to_bytes())
    header = nib.Nifti2Header(bytes(raw[:540]), check=False)
    header["vox_offset"] = 0
    path.write_bytes(gzip.compress(header.binaryblock + bytes(raw[540:])))
    np.testing.assert_array_equal(read_volume(read_header(path)), standard_volume())


def test_a_nifti_2_header_of_a_size_that_no_ct_has(path):
    array, affine = to_file(standard_volume(), "IPL")
    raw = bytearray(nib.Nifti2Image(array, affine).to_bytes())
    header = nib.Nifti2Header(bytes(raw[:540]), check=False)
    header["dim"][1] = 1 << 40
    path.write_bytes(gzip.compress(header.binaryblock + bytes(raw[540:])))
    assert "no CT is that large" in refused(path)


@pytest.mark.parametrize("kind", ["i2", "f4"])
@pytest.mark.parametrize("padding", [-2000, -2048, -3024, -32768])
def test_padding_is_air_for_every_reader(path, kind, padding):
    expected = standard_volume()
    expected[:, :2] = -1024
    padded = expected.astype(kind)
    padded[:, :2] = padding
    array, affine = to_file(padded, "RAS")
    volume, found = read_padded(read_header(save(path, array, affine)))
    np.testing.assert_array_equal(volume, expected)
    assert found == Padding(voxels=expected[:, :2].size, least=padding, scattered=0)
    np.testing.assert_array_equal(read_volume(read_header(path)), expected)


def test_what_is_a_little_below_air_stays(path):
    volume = standard_volume()
    volume[0, 0, :4] = -1024, -1100, -1499, -1500
    read, padding = read_padded(read_header(save(path, *to_file(volume, "IPL"))))
    np.testing.assert_array_equal(read, volume)
    assert padding == Padding(voxels=0, least=-1500, scattered=0)


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("byte_order", "<>")
def test_labels_of_any_type(path, kind, byte_order):
    array, affine = to_file(standard_label(), "LPS")
    save(path, array.astype(byte_order + kind), affine, byte_order=byte_order)
    label = read_label(read_header(path))
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, standard_label())


@pytest.mark.parametrize("kind", ["i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("byte_order", "<>")
def test_images_of_any_type(path, kind, byte_order):
    array, affine = to_file(standard_volume(), "RAS")
    save(path, array.astype(byte_order + kind), affine, byte_order=byte_order)
    header = read_header(path)
    volume = read_volume(header)
    assert volume.dtype == np.int16 and volume.dtype.isnative
    np.testing.assert_array_equal(volume, standard_volume())
    write_like(path.with_name("label.nii.gz"), standard_label(), header)
    written = read_header(path.with_name("label.nii.gz"))
    np.testing.assert_array_equal(read_label(written), standard_label())
    np.testing.assert_array_equal(written.affine, affine)


def test_slope_and_intercept_are_applied_and_values_held_within_int16(path):
    array, affine = to_file(standard_volume(), "IPL")
    stored = (array + 1024) / 2.0
    stored[0, 0, :3] = 1e6, -1e6, 512.3
    image = nib.Nifti1Image(stored, affine)
    image.header.set_slope_inter(2, -1024)
    raw = bytearray(nib.Nifti1Image(stored, affine).to_bytes())
    raw[:348] = image.header.binaryblock
    path.write_bytes(gzip.compress(bytes(raw)))
    volume, padding = read_padded(read_header(path))
    assert volume[0, 0, :3].tolist() == [32767, -1024, 1]
    assert padding == Padding(voxels=1, least=-32768, scattered=0)
    np.testing.assert_array_equal(volume[1:], standard_volume()[1:])


@pytest.mark.parametrize("slope", [0, np.nan])
def test_without_a_slope_voxels_are_what_is_stored(path, slope):
    save_damaged(path, set_fields(scl_slope=slope), standard_volume().astype(np.float32))
    np.testing.assert_array_equal(read_volume(read_header(path)), standard_volume())


def test_a_label_with_a_slope(path):
    def halved(header):
        header["scl_slope"], header["scl_inter"] = 0.5, 0

    save_damaged(path, halved, 2 * standard_label())
    np.testing.assert_array_equal(read_label(read_header(path)), standard_label())


def test_a_fourth_axis_of_length_one_is_dropped(path):
    array, affine = to_file(standard_volume(), "LPS")
    header = read_header(save(path, array[..., None], affine))
    np.testing.assert_array_equal(read_volume(header), standard_volume())
    write_like(path.with_name("label.nii.gz"), standard_label(), header)
    assert nib.load(path.with_name("label.nii.gz")).shape == array.shape


def test_an_extension_between_header_and_voxels(path):
    array, affine = to_file(standard_volume(), "IPL")
    image = nib.Nifti1Image(array, affine)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"scanner " * 90))
    nib.save(image, path)
    header = read_header(path)
    np.testing.assert_array_equal(read_volume(header), standard_volume())
    write_like(path.with_name("label.nii.gz"), standard_label(), header)
    written = nib.load(path.with_name("label.nii.gz"))
    np.testing.assert_array_equal(written.dataobj, standard_label())
    np.testing.assert_array_equal(written.affine, affine)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    array, affine = to_file(standard_label(), "IPL")
    paths = [tmp_path / name for name in ("one.nii.gz", "two.nii.gz")]
    for path in paths:
        write_nifti(path, array, affine)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes()[4:8] == bytes(4)  # no time of writing
    np.testing.assert_array_equal(nib.load(paths[0]).affine, affine)


# -- what is refused ----------------------------------------------------------------------------


def test_a_missing_file(path):
    assert "missing" in refused(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9999])
def test_a_truncated_file(path, share):
    write_nifti(path, *to_file(standard_volume((20, 21, 22)), "IPL"))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refused(path)
    plain = path.with_name("imaging.nii")
    plain.write_bytes(gzip.decompress(whole)[:-1])
    refused(plain)


def test_a_file_without_permission_is_not_to_be_copied_again(path, monkeypatch):
    path.touch()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(igzip, "IGzipFile", refuse)
    assert "Permission denied): mend its permissions" in refused(path)


def test_an_empty_file(path):
    path.touch()
    assert "empty: copy the file again" in refused(path)


@pytest.mark.parametrize("content", [b"case,dice\n", b"case_00000,0.97\n" * 99])
def test_text_under_the_name_of_a_volume(path, content):
    path.write_bytes(content)
    assert "or pack it with gzip" in refused(path)
    path.write_bytes(gzip.compress(content))
    assert "not a NIfTI file" in refused(path)
    plain = path.with_name("imaging.nii")
    plain.write_bytes(content)
    assert "not a NIfTI file" in refused(plain)


def test_a_folder_under_the_name_of_a_volume(path):
    path.mkdir()
    refused(path)


@pytest.mark.parametrize("name", ["imaging.nii.gz", "imaging.nii"])
def test_a_pipe_or_a_device_is_never_opened(tmp_path, name):
    """Opening a pipe without a writer would wait for ever."""
    os.mkfifo(tmp_path / name)
    assert "no regular file" in refused(tmp_path / name)
    device = tmp_path / f"device-{name}"
    device.symlink_to("/dev/zero")
    assert "no regular file" in refused(device)


def test_slices_wider_than_any_scanner_makes(path):
    array = np.zeros((2, 2, 4097), np.int16)
    save(path, array, to_file(array, "IPL", (1.0, 0.5, 0.5))[1])
    assert "slices of 2 x 4097 pixels" in refused(path)


@pytest.mark.parametrize("shape", [(6, 7), (5, 6, 7, 2), (5, 6, 1), (5,)])
def test_other_than_three_axes(path, shape):
    save(path, np.zeros(shape, np.int16), np.eye(4))
    assert "three axes" in refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_voxels_that_are_no_numbers(path, value):
    array, affine = to_file(standard_volume().astype(np.float64), "IPL")
    array[2, 3, 4] = value
    assert "NaN or infinite voxels" in refused(save(path, array, affine))


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("spacing", [0, -0.75, np.nan, np.inf])
def test_spacing_that_is_no_length(path, axis, spacing):
    def change(header):
        header["pixdim"][axis] = spacing

    assert "voxel spacing" in refused(save_damaged(path, change))


def set_fields(**values):
    def change(header):
        for name, value in values.items():
            header[name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_fields(srow_x=0),
        set_fields(srow_x=np.nan),
        set_fields(srow_x=(0, 0, 0.5, 0), srow_y=(0, 0, 0.5, 0)),
        set_fields(sform_code=0, qform_code=1, quatern_b=3, quatern_c=3),
        set_fields(datatype=128, bitpix=24),  # RGB
        set_fields(datatype=1792, bitpix=128),  # complex
        set_fields(datatype=1536, bitpix=128),  # float128
        set_fields(datatype=999),
        set_fields(magic=b"ni1"),
        set_fields(sizeof_hdr=0),
        set_fields(scl_slope=1, scl_inter=np.nan),
        set_fields(vox_offset=np.nan),
        set_fields(vox_offset=np.inf),
        set_fields(vox_offset=1e18),
        set_fields(vox_offset=1e30),
        set_fields(dim=(3, -5, 6, 7, 1, 1, 1, 1)),
        set_fields(dim=(-3, 5, 6, 7, 1, 1, 1, 1)),
        set_fields(dim=(99, 5, 6, 7, 1, 1, 1, 1)),
    ],
)
def test_a_header_that_makes_no_sense(path, change):
    refused(save_damaged(path, change))


def test_more_voxels_than_the_limit_are_refused_before_they_are_read(path):
    save_damaged(path, set_fields(dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)))
    assert "maximum_voxels" in refused(path)
    save_damaged(path, set_fields())
    assert "maximum_voxels" in refused(path, limit=5 * 6 * 7 - 1)
    read_header(path, 5 * 6 * 7)


@pytest.mark.parametrize("change_in_bytes", [-1, -100, 1, 100])
@pytest.mark.parametrize("name", ["imaging.nii.gz", "imaging.nii"])
def test_content_that_is_shorter_or_longer_than_the_header_says(tmp_path, name, change_in_bytes):
    raw = nib.Nifti1Image(*to_file(standard_volume(), "IPL")).to_bytes()
    raw = raw[:change_in_bytes] if change_in_bytes < 0 else raw + bytes(change_in_bytes)
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    assert "damaged" in refused(path)


@pytest.mark.parametrize("announced", [True, False])
def test_a_gzip_bomb_is_refused_before_it_fills_memory(path, announced):
    """A gigabyte of zeros in a megabyte, by a header that says so and one that does not."""
    size = (3, 1024, 1024, 512, 1, 1, 1, 1) if announced else (3, 5, 6, 7, 1, 1, 1, 1)
    save_damaged(path, set_fields(dim=size))
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(1 << 24), 1) * 64)
    tracemalloc.start()
    message = refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ("maximum_voxels" if announced else "more than its header says") in message
    assert peak < 1 << 22


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (3, np.uint8, "[3]"),
        (255, np.uint8, "[255]"),
        (-1, np.int16, "[-1]"),
        (257, np.int16, "[257]"),
        (256, np.uint16, "[256]"),
        (0.5, np.float32, "[0.5]"),
        (2.5, np.float64, "[2.5]"),
        (np.nan, np.float32, "[nan]"),
        (np.inf, np.float32, "[inf]"),
    ],
)
def test_label_values_that_mean_nothing(path, value, kind, told):
    array, affine = to_file(standard_label().astype(kind), "IPL")
    array[1, 2, 3] = value
    message = refused(save(path, array, affine), label=True)
    assert f"label values {told}" in message


# -- damage at random ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("damage") / "imaging.nii.gz"
    write_nifti(path, *to_file(standard_volume(), "IPL"))
    return path.read_bytes()


def read_or_refuse(path: Path):
    for read in (read_volume, read_label):
        try:
            header = read_header(path, 5000)
            array = read(header)
            write_like(path.with_name("written.nii.gz"), standard_label(array.shape), header)
        except InputError as error:
            assert path.name in str(error) and "\n" not in str(error)
        else:
            assert array.shape == header.shape
            assert read_header(path.with_name("written.nii.gz")).shape == header.shape
        assert not list(path.parent.glob(".*.nii.gz"))  # nothing half-written


changes = st.dictionaries(st.floats(0, 1, exclude_max=True), st.integers(0, 255), max_size=6)


@settings(max_examples=150, deadline=1000)
@given(changed=changes, kept=st.one_of(st.just(1.0), st.floats(0, 1)))
def test_damaged_bytes_of_the_file_are_read_or_refused(whole, tmp_path_factory, changed, kept):
    raw = bytearray(whole[: int(kept * len(whole))])
    for place, value in changed.items():
        if raw:
            raw[int(place * len(raw))] = value
    path = tmp_path_factory.getbasetemp() / "imaging.nii.gz"
    path.write_bytes(raw)
    read_or_refuse(path)


@settings(max_examples=250, deadline=1000)
@given(changed=st.dictionaries(st.integers(0, 351), st.integers(0, 255), max_size=6))
def test_damaged_bytes_of_the_header_are_read_or_refused(whole, tmp_path_factory, changed):
    raw = bytearray(gzip.decompress(whole))
    for place, value in changed.items():
        raw[place] = value
    path = tmp_path_factory.getbasetemp() / "imaging.nii.gz"
    path.write_bytes(gzip.compress(bytes(raw), 0))
    read_or_refuse(path)


# Numbers that fields of a header are unlikely to hold: NaN, infinities, the largest, 0, -1, 1.
ODD = [b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f", bytes(4)]
ODD += [b"\xff\xff\xff\xff", b"\1\0\0\0"]


@settings(max_examples=150, deadline=1000)
@given(changed=st.dictionaries(st.sampled_from(range(0, 348, 2)), st.sampled_from(ODD), max_size=8))
def test_odd_numbers_in_the_header_are_read_or_refused(whole, tmp_path_factory, changed):
    raw = bytearray(gzip.decompress(whole))
    for place, number in changed.items():
        raw[place : place + 4] = number
    path = tmp_path_factory.getbasetemp() / "imaging.nii.gz"
    path.write_bytes(gzip.compress(bytes(raw), 0))
    read_or_refuse(path)


@settings(max_examples=100, deadline=1000)
@given(kept=st.floats(0, 1), behind=st.binary(max_size=60), again=st.booleans())
def test_gzip_streams_that_are_cut_or_continued_are_read_or_refused(
    whole, tmp_path_factory, kept, behind, again
):
    path = tmp_path_factory.getbasetemp() / "imaging.nii.gz"
    path.write_bytes(whole[: int(kept * len(whole))] + again * whole + behind)
    read_or_refuse(path)


def test_a_damaged_file_is_damaged_whatever_its_voxels_say(path):
    stored = np.full(SHAPE, 77, np.uint8)
    raw = save(path, stored, np.eye(4)).read_bytes()
    path.write_bytes(raw[:-8] + bytes(4) + raw[-4:])
    assert "damaged" in refused(path, label=True)
