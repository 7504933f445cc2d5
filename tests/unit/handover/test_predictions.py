"""Tests of predictions: what is stored, means over folders, and the way back to native voxels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.errors import InputError
from renal.handover.checked import CheckedCase
from renal.handover.predictions import (
    FOREGROUND,
    mean_probabilities,
    native_mask,
    native_mask_of,
    read_probabilities,
    write_probabilities,
)
from renal.handover.prepared import PreparedCase, write_index
from renal.image.boxes import Box, extended_box

NATIVE = (20, 24, 28)
BOXES = [((0, 10), (2, 20), (4, 24)), ((8, 20), (0, 24), (1, 28))]
ROUNDING = 1 / 510 + 1e-6  # half of one of 255 levels


def case_of(regions: int, name: str = "case_00000") -> PreparedCase:
    return PreparedCase(name, NATIVE, BOXES[:regions])


# -- storing --------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), maps=st.integers(1, 3), size=st.tuples(*[st.integers(1, 6)] * 3))
def test_eight_bits_are_right_to_half_a_level(tmp_path_factory, seed, maps, size):
    folder = tmp_path_factory.mktemp("probabilities")
    random = np.random.default_rng(seed)
    stored = [random.random((maps, *size), np.float32), random.random((maps, 3, 1, 1), np.float32)]
    write_probabilities(folder, case_of(2), stored)
    read = read_probabilities(folder, case_of(2))
    for before, after in zip(stored, read, strict=True):
        assert after.shape == before.shape
        assert after.dtype == np.float32
        assert np.abs(after - before).max() <= ROUNDING


def test_ends_of_the_scale_and_the_threshold_are_kept(tmp_path):
    stored = np.array([[[[0.0, 0.5, 1.0]]]], np.float32)
    write_probabilities(tmp_path, case_of(1), [stored])
    (read,) = read_probabilities(tmp_path, case_of(1))
    assert read[0, 0, 0, 0] == 0
    assert read[0, 0, 0, 2] == 1
    # Rounding takes no probability to the other side of the threshold.
    around = np.nextafter(np.float32(0.5), np.array([[[[0, 1]]]], np.float32))
    write_probabilities(tmp_path, case_of(1), [around])
    (read,) = read_probabilities(tmp_path, case_of(1))
    assert (read > FOREGROUND).tolist() == [[[[False, True]]]]


def test_only_what_is_not_zero_is_stored_and_comes_back_to_its_place(tmp_path):
    stored = np.zeros((2, 9, 10, 11), np.float32)
    stored[0, 2:4, 3:8, 5:6] = 1
    stored[1, 3:4, 3:4, 5:7] = 1  # the box is one for all maps
    stored[:, 0, 0, 0] = 0.001  # less than half a level
    write_probabilities(tmp_path, case_of(1), [stored])
    with np.load(tmp_path / "case_00000.npz") as arrays:
        assert arrays["levels0"].shape == (2, 2, 5, 2)
    (read,) = read_probabilities(tmp_path, case_of(1))
    assert np.array_equal(read, np.where(stored == 1, 1, 0))


def test_empty_probabilities(tmp_path):
    write_probabilities(tmp_path, case_of(1), [np.zeros((2, 4, 5, 6), np.float32)])
    (read,) = read_probabilities(tmp_path, case_of(1))
    assert read.shape == (2, 4, 5, 6)
    assert not read.any()


def test_case_without_regions(tmp_path):
    write_probabilities(tmp_path, case_of(0), [])
    assert read_probabilities(tmp_path, case_of(0)) == []


@pytest.mark.parametrize("damage", ["missing", "empty", "cut off", "scrambled", "other"])
def test_damaged_probabilities_are_told_in_one_line(tmp_path, damage):
    path = tmp_path / "case_00000.npz"
    random = np.random.default_rng(0).random((1, 8, 8, 8), np.float32)
    write_probabilities(tmp_path, case_of(1), [random])
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        write_probabilities(tmp_path, case_of(0), [])
    elif damage == "scrambled":
        # A whole archive around bytes that are no longer what was compressed.
        middle = content.index(b"levels0.npy") + 100
        path.write_bytes(content[:middle] + bytes(50) + content[middle + 50 :])
    else:
        path.write_bytes({"empty": b"", "cut off": content[: len(content) // 2]}[damage])
    with pytest.raises(InputError, match=r"case_00000\.npz: missing or damaged") as error:
        read_probabilities(tmp_path, case_of(1))
    assert "\n" not in str(error.value)
    assert f"delete the folder {tmp_path}" in str(error.value)


# -- means ----------------------------------------------------------------------------------------


def write_predictions(folder: Path, cases: dict[str, tuple[list[Box], list[np.ndarray]]]) -> Path:
    """A folder of predictions of some cases: boxes of their regions, and maps in each."""
    for name, (boxes, maps) in cases.items():
        write_probabilities(folder, PreparedCase(name, NATIVE, boxes), maps)
    write_index(folder, [PreparedCase(name, NATIVE, boxes) for name, (boxes, _) in cases.items()])
    return folder


def test_folders_are_averaged_voxel_by_voxel(tmp_path):
    random = np.random.default_rng(0)
    maps = [random.random((2, 10, 18, 20), np.float32) for _ in range(3)]
    maps[2][:, 3:] = 0  # what is stored is cropped to what is not zero, in each for itself
    folders = [
        write_predictions(tmp_path / str(number), {"case_00000": (BOXES[:1], [part])})
        for number, part in enumerate(maps)
    ]
    case, (mean,) = mean_probabilities(folders, "case_00000")
    assert case == case_of(1)
    np.testing.assert_allclose(mean, sum(maps) / 3, atol=ROUNDING)
    (single,) = mean_probabilities(folders[:1], "case_00000")[1]
    np.testing.assert_allclose(single, maps[0], atol=ROUNDING)


def test_every_region_is_averaged_with_itself(tmp_path):
    folders = [
        write_predictions(
            tmp_path / str(number),
            {"case_00000": (BOXES, [np.full((1, 2, 3, 4), value) for value in values])},
        )
        for number, values in enumerate([(0.2, 1), (0.4, 0)])
    ]
    case, (first, second) = mean_probabilities(folders, "case_00000")
    assert case == case_of(2)
    np.testing.assert_allclose(first, 0.3, atol=ROUNDING)
    np.testing.assert_allclose(second, 0.5, atol=ROUNDING)


def test_folders_that_look_elsewhere_are_told(tmp_path):
    maps = [np.ones((1, 4, 4, 4), np.float32)]
    one = write_predictions(tmp_path / "one", {"case_00000": (BOXES[:1], maps)})
    two = write_predictions(tmp_path / "two", {"case_00000": (BOXES[1:], maps)})
    with pytest.raises(InputError, match="case_00000 covers another part of the scan") as told:
        mean_probabilities([one, two], "case_00000")
    message = str(told.value)
    assert message.startswith(f"{one}: ") and str(two) in message and "\n" not in message


def test_a_case_that_a_folder_lacks_is_told(tmp_path):
    maps = [np.ones((1, 4, 4, 4), np.float32)]
    one = write_predictions(tmp_path / "one", {"case_00000": (BOXES[:1], maps)})
    two = write_predictions(tmp_path / "two", {})
    with pytest.raises(InputError, match=f"{two}: case_00000 is missing"):
        mean_probabilities([one, two], "case_00000")


# -- back to native voxels ------------------------------------------------------------------------


def test_a_grid_of_the_same_size_comes_back_as_it_is():
    probability = np.random.default_rng(1).random((10, 18, 20), np.float32)
    mask = native_mask([probability], case_of(1))
    expected = np.zeros(NATIVE, bool)
    expected[0:10, 2:20, 4:24] = probability > 0.5
    assert mask.shape == NATIVE
    assert mask.dtype == bool
    assert np.array_equal(mask, expected)


def test_a_box_of_ones_comes_back_to_the_right_place():
    # The first box is 10 x 18 x 20 voxels; the grid halves z, keeps y, and doubles x.
    probability = np.zeros((5, 18, 40), np.float32)
    probability[1:4, 3:9, 10:30] = 1
    mask = native_mask([probability], case_of(1))
    expected = np.zeros(NATIVE, bool)
    expected[2:8, 2 + 3 : 2 + 9, 4 + 5 : 4 + 15] = True
    assert np.array_equal(mask, expected)


@settings(max_examples=40, deadline=None)
@given(
    bounds=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(4, 8))] * 3),
    factor=st.integers(2, 3),
)
def test_a_box_of_ones_on_a_coarse_grid_comes_back_enlarged(bounds, factor):
    size = (8, 8, 8)
    box = tuple((2, 2 + factor * length) for length in size)
    case = PreparedCase("case_00000", tuple(4 + factor * length for length in size), [box])
    probability = np.zeros(size, np.float32)
    probability[tuple(slice(low, high) for low, high in bounds)] = 1
    mask = native_mask([probability], case)
    expected = np.zeros(case.shape, bool)
    expected[tuple(slice(2 + factor * low, 2 + factor * high) for low, high in bounds)] = True
    # Interpolation rounds the edges off, where two or three faces meet: nothing is beyond.
    assert not (mask & ~expected).any()
    core = tuple(slice(2 + factor * low + 1, 2 + factor * high - 1) for low, high in bounds)
    assert mask[core].all()


def test_overlapping_regions_are_united():
    first, second = (np.zeros(size, np.float32) for size in ((10, 18, 20), (12, 24, 27)))
    first[8:10, 0:5, 0:5] = 1  # native z 8..10, y 2..7, x 4..9
    second[0:2, 4:9, 5:10] = 0.9  # native z 8..10, y 4..9, x 6..11
    second[0:2, 2:4, 3:5] = 0.2  # background here must not erase what the first region found
    mask = native_mask([first, second], case_of(2))
    expected = np.zeros(NATIVE, bool)
    expected[8:10, 2:7, 4:9] = True
    expected[8:10, 4:9, 6:11] = True
    assert np.array_equal(mask, expected)


def test_the_same_region_twice_changes_nothing():
    probability = np.random.default_rng(3).random((8, 8, 8), np.float32)
    single = PreparedCase("case_00000", NATIVE, [BOXES[0]])
    double = PreparedCase("case_00000", NATIVE, [BOXES[0]] * 2)
    assert np.array_equal(
        native_mask([probability], single),
        native_mask([probability] * 2, double),
    )


def test_exactly_a_half_is_background():
    probability = np.full((10, 18, 20), 0.5, np.float32)
    assert not native_mask([probability], case_of(1)).any()


@pytest.mark.parametrize("higher", [0, 1])
def test_where_regions_overlap_the_larger_probability_counts(higher):
    # Both regions hold the native box z 8..10, y 2..20, x 4..24.
    values = [0.3, 0.3]
    values[higher] = 0.8
    first = np.full((10, 18, 20), values[0], np.float32)
    second = np.full((12, 24, 27), values[1], np.float32)
    mask = native_mask([first, second], case_of(2))
    assert mask[8:10, 2:20, 4:24].all()
    expected = np.zeros(NATIVE, bool)
    expected[tuple(slice(*side) for side in BOXES[higher])] = True
    assert np.array_equal(mask, expected)


def test_a_grid_that_is_larger_than_the_volume_is_cut_at_its_edge():
    # 4, 3 and 0 voxels more before and 2, 1 and 5 behind.
    box = ((-4, 22), (-3, 25), (0, 33))
    probability = np.zeros((26, 28, 33), np.float32)
    probability[2:9, 10:28, 20:33] = 1  # leaves the volume before z, behind y and x
    case = PreparedCase("case_00000", NATIVE, [box])
    mask = native_mask([probability], case)
    expected = np.zeros(NATIVE, bool)
    expected[0:5, 7:24, 20:28] = True
    assert mask.shape == NATIVE and np.array_equal(mask, expected)
    outside = np.zeros_like(probability)
    outside[:3], outside[:, :2], outside[..., 30:] = 1, 1, 1
    assert not native_mask([outside], case).any()


@settings(max_examples=30, deadline=None)
@given(
    extent=st.tuples(*[st.integers(1, 40)] * 3),
    factor=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_a_mask_on_an_extended_grid_comes_back(extent, factor, seed):
    box = extended_box(NATIVE, (1.0, 1.0, 1.0), extent)
    truth = np.random.default_rng(seed).random(NATIVE) < 0.5
    grid = np.zeros([high - low for low, high in box], np.float32)
    start = [-low for low, _ in box]
    grid[tuple(slice(s, s + n) for s, n in zip(start, NATIVE, strict=True))] = truth
    case = PreparedCase("case_00000", NATIVE, [box])
    if factor == 1:
        assert np.array_equal(native_mask([grid], case), truth)
    for axis in range(3):
        grid = grid.repeat(factor, axis)
    # A native voxel lies between two of the finer grid, which are both its own.
    assert np.array_equal(native_mask([grid], case), truth)


@pytest.mark.parametrize("rows", [(0, 20), (5, 15), (-3, 24), (-6, 20), (0, 25)])
def test_what_is_known_of_slices_alone_holds_for_their_whole_plane(rows):
    low, high = rows
    values = np.zeros(high - low, np.float32)
    native = np.zeros(20, bool)
    native[6:9] = native[12] = True
    values[6 - low : 9 - low] = values[12 - low] = 0.9
    if low < 0:
        values[0] = 0.9  # outside of the volume
    plane = ((2, 20), (0, 28)) if low == 5 else ((0, 24), (0, 28))
    case = PreparedCase("case_00000", NATIVE, [(rows, *plane)])
    mask = native_mask([values.reshape(-1, 1, 1)], case)
    expected = np.zeros(NATIVE, bool)
    expected[native, plane[0][0] : plane[0][1], :] = True
    assert np.array_equal(mask, expected)


def test_slices_on_a_grid_that_leaves_the_volume_in_the_plane():
    box = ((-2, 22), (-4, 28), (-6, 34))
    values = np.full((12, 1, 1), 0.2, np.float32)
    values[6:8] = 1  # native slices 10 to 13
    mask = native_mask([values], PreparedCase("case_00000", NATIVE, [box]))
    assert sorted(set(np.argwhere(mask)[:, 0])) == [10, 11, 12, 13]
    assert mask[10:14].all()


@pytest.mark.parametrize("regions", [0, 1, 2])
def test_nothing_found_gives_an_empty_mask(regions):
    probabilities = [np.zeros((4, 4, 4), np.float32)] * regions
    mask = native_mask(probabilities, case_of(regions))
    assert mask.shape == NATIVE
    assert not mask.any()


def test_of_several_maps_the_first_says_where_to_look(tmp_path):
    kidney, tumour = np.zeros((2, 10, 18, 20), np.float32)
    kidney[2:8, 2:8, 2:8], tumour[3:5, 3:5, 3:5] = 1, 1
    write_probabilities(tmp_path, case_of(1), [np.stack([kidney, tumour])])
    write_index(tmp_path, [case_of(1)])
    mask, _ = native_mask_of(tmp_path, CheckedCase("case_00000", "unused"))
    assert np.array_equal(mask, native_mask([kidney], case_of(1)))


def test_a_case_that_was_not_predicted_is_told(tmp_path):
    write_index(tmp_path, [case_of(1)])
    with pytest.raises(InputError, match=f"{tmp_path}: case_00001 is missing"):
        native_mask_of(tmp_path, CheckedCase("case_00001", "unused"))


def test_mask_of_a_case_in_a_folder(tmp_path):
    probability = np.zeros((10, 18, 20), np.float32)
    probability[2:5, 2:5, 2:5] = 1
    write_probabilities(tmp_path, case_of(1), [probability[None]])
    write_index(tmp_path, [case_of(1)])
    mask, _ = native_mask_of(tmp_path, CheckedCase("case_00000", "unused"))
    assert np.array_equal(mask, native_mask([probability], case_of(1)))


@pytest.mark.parametrize(
    ("boxes", "extent"),
    [
        ([], ((0, 20), (0, 24), (0, 28))),
        (BOXES[:1], BOXES[0]),
        (BOXES, ((0, 20), (0, 24), (1, 28))),
        ([((-4, 12), (3, 30), (2, 28))], ((0, 12), (3, 24), (2, 28))),
    ],
)
def test_what_was_looked_at_is_the_box_round_all_regions_within_the_volume(tmp_path, boxes, extent):
    case = PreparedCase("case_00000", NATIVE, boxes)
    write_probabilities(tmp_path, case, [np.zeros((1, 2, 2, 2), np.float32)] * len(boxes))
    write_index(tmp_path, [case])
    mask, found = native_mask_of(tmp_path, CheckedCase("case_00000", "unused"))
    assert found == extent
    assert mask.shape == NATIVE and not mask.any()
