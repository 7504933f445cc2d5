"""Whole volumes on a grid: the right files of the right types, and where they come from."""

import numpy as np
import pytest

from renal.errors import InputError
from renal.files import write_json
from renal.handover.prepared import PreparedCase, read_images, read_index, read_labels
from renal.image.boxes import extended_box, inside, whole_volume
from renal.image.grids import labels_to_grid, to_grid
from renal.image.settings import Geometry
from renal.image.volume import read_header, read_label, read_volume
from renal.prepare.resample import resample

from .helpers import GEOMETRY, LABELLED, NAMES, expected_names, names


def test_resampled_volumes_are_those_of_the_grid(checked, resampled):
    assert names(resampled) == expected_names(NAMES, LABELLED)
    index = read_index(resampled)
    assert list(index) == NAMES
    for case in checked:
        prepared = index[case.name]
        header = read_header(case.image)
        box = whole_volume(header.shape)
        assert prepared == PreparedCase(case.name, header.shape, [box])
        (image,) = read_images(resampled, prepared)
        assert image.dtype == np.int16 and image.shape == GEOMETRY.size
        expected = to_grid(read_volume(header), box, GEOMETRY.size)
        np.testing.assert_array_equal(image, expected)
        if case.labelled:
            (label,) = read_labels(resampled, prepared)
            assert label.dtype == np.uint8 and label.shape == GEOMETRY.size
            expected = labels_to_grid(read_label(read_header(case.label)), box, GEOMETRY.size)
            np.testing.assert_array_equal(label, expected)


def test_several_at_a_time_give_the_same_files(checked, resampled, tmp_path):
    resample(checked, GEOMETRY, tmp_path / "again", threads=2)
    assert names(tmp_path / "again") == names(resampled)
    for name in names(resampled):
        assert (tmp_path / "again" / name).read_bytes() == (resampled / name).read_bytes()


@pytest.mark.parametrize(
    "geometry",
    [
        {"spacing": (3, 4, 5)},
        {"spacing": (4, None, None), "size": (None, 20, 24)},
        {"size": (None, 16, None)},
        {},
    ],
)
def test_sizes_spacings_and_native_axes_mix(checked, tmp_path, geometry):
    settings = Geometry(**geometry)
    resample(checked[:1], settings, tmp_path)
    case = checked[0]
    prepared = read_index(tmp_path)[case.name]
    expected = [
        size or (round(length * step / spacing) if spacing else length)
        for size, spacing, length, step in zip(
            settings.sizes, settings.spacings, case.shape, case.spacing, strict=True
        )
    ]
    (image,), (label,) = read_images(tmp_path, prepared), read_labels(tmp_path, prepared)
    assert image.shape == label.shape == tuple(expected)
    volume = read_volume(read_header(case.image))
    (box,) = prepared.boxes
    assert box == whole_volume(case.shape)
    np.testing.assert_array_equal(image, to_grid(volume, box, image.shape))
    if not geometry:
        np.testing.assert_array_equal(image, volume)
        np.testing.assert_array_equal(label, read_label(read_header(case.label)))


def test_a_grid_larger_than_the_volume_has_its_minimum_outside(checked, tmp_path):
    case = checked[0]
    extent = tuple(1.5 * n * step for n, step in zip(case.shape, case.spacing, strict=True))
    box = extended_box(case.shape, case.spacing, extent)
    size = tuple(high - low for low, high in box)
    assert all(low < 0 and high > n for (low, high), n in zip(box, case.shape, strict=True))
    resample([case], Geometry(size=size, extent_mm=extent), tmp_path)
    prepared = read_index(tmp_path)[case.name]
    assert prepared == PreparedCase(case.name, tuple(case.shape), [box])
    (image,), (label,) = read_images(tmp_path, prepared), read_labels(tmp_path, prepared)
    volume = read_volume(read_header(case.image))
    place = tuple(slice(-low, n - low) for (low, _), n in zip(box, case.shape, strict=True))
    for array, native, outside in (
        (image, volume, volume.min()),
        (label, read_label(read_header(case.label)), 0),
    ):
        np.testing.assert_array_equal(array[place], native)
        rest = array.copy()
        rest[place] = outside
        assert (rest == outside).all()
    assert inside(box, case.shape) == whole_volume(case.shape)


def test_a_grid_for_a_smaller_extent_grows_to_cover_the_volume(checked, tmp_path):
    settings = Geometry(size=(12, 20, 24), extent_mm=(1, 1, 1))
    resample(checked[:1], settings, tmp_path / "small")
    resample(checked[:1], Geometry(size=(12, 20, 24)), tmp_path / "whole")
    for name in names(tmp_path / "whole"):
        assert (tmp_path / "small" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("boxes", [{}, {"case_other": [[0, 2]] * 3}])
def test_a_case_without_its_box_is_told(checked, tmp_path, boxes):
    write_json(tmp_path / "boxes.json", boxes)
    with pytest.raises(InputError, match=rf"boxes\.json: no box of {NAMES[0]}") as error:
        resample(checked[:1], GEOMETRY, tmp_path / "out", boxes=tmp_path / "boxes.json")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "boxes", [[], {NAMES[0]: 7}, {NAMES[0]: [[0, 2]] * 2}, {NAMES[0]: [[0, "a"]] * 3}]
)
def test_damaged_boxes_are_told(checked, tmp_path, boxes):
    path = tmp_path / "boxes.json"
    write_json(path, boxes)
    with pytest.raises(InputError) as error:
        resample(checked[:1], GEOMETRY, tmp_path / "out", boxes=path)
    told = f"{path}: damaged, no boxes of cases: delete it and run the workflow again"
    assert str(error.value) == told
    assert not (tmp_path / "out").exists()
