"""Tests of samplers: every voxel is seen, places stay inside, and padding is told from data."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.learn.datasets import Case
from renal.learn.samplers import patches, sampler_of, slices, volume, windows
from renal.learn.samplers.settings import PatchSampler, SliceSampler, VolumeSampler, WindowSampler


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def case_of(*shapes: tuple[int, int, int], slack: list | None = None) -> Case:
    """Regions in which every voxel has a number of its own, from 1, in image and label alike."""
    images, first = [], 1
    for shape in shapes:
        count = int(np.prod(shape))
        images.append(np.arange(first, first + count, dtype=np.int32).reshape(shape))
        first += count
    return Case("case_0", images, [image.copy() for image in images], slack or [])


def examples_of(sampler, case: Case, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    random = generator(seed)
    return [sampler.cut(case, place, random) for place in sampler.places(case)]


def assert_equal_examples(first: list, second: list) -> None:
    for one, two in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


SAMPLERS = {
    "volume": VolumeSampler(name="volume", shuffle_regions=True),
    "lattice": PatchSampler(name="patches", size=(2, 3, 4), stride=(2, 2, 2)),
    "random": PatchSampler(name="patches", size=(2, 3, 4), per_case=9),
    "slices": SliceSampler(name="slices", context=3, only="kidney"),
    "windows": WindowSampler(name="windows", length=3, around="kidney", extend=1),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_examples_are_counted_before_there_are_any(name):
    """As plans of costs need them: from the shapes alone."""
    shapes = [(6, 7, 8)] * 3
    places = sampler_of(SAMPLERS[name]).places(case_of(*shapes))
    assert SAMPLERS[name].examples(3, shapes[0]) == len(places)


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_is_drawn_follows_the_generator_alone(name):
    case = case_of((6, 7, 8), (6, 7, 8), (6, 7, 8))
    sampler = sampler_of(SAMPLERS[name])
    first = examples_of(sampler, case, seed=1)
    torch.manual_seed(99)
    assert_equal_examples(first, examples_of(sampler, case, seed=1))
    if name in ("volume", "random", "windows"):
        others = [examples_of(sampler, case, seed) for seed in range(2, 12)]
        assert any(not torch.equal(first[0][0], other[0][0]) for other in others)


@pytest.mark.parametrize("name", SAMPLERS)
def test_tensors_are_cut_as_arrays_are(name):
    case = case_of((6, 7, 8), (6, 7, 8))
    tensors = Case(
        "case_0", *([torch.from_numpy(a) for a in part] for part in (case.images, case.labels)), []
    )
    sampler = sampler_of(SAMPLERS[name])
    assert sampler.places(case) == sampler.places(tensors)
    assert_equal_examples(examples_of(sampler, case), examples_of(sampler, tensors))


# -- patches on a lattice -------------------------------------------------------------------------


@given(length=st.integers(1, 300), side=st.integers(1, 150), data=st.data())
def test_patches_on_a_lattice_cover_an_axis(length, side, data):
    stride = data.draw(st.integers(1, side))
    begins = patches.starts(length, side, stride)
    assert begins[0] == 0 and begins == sorted(set(begins))
    assert begins[-1] == max(0, length - side)
    steps = [later - earlier for earlier, later in pairwise(begins)]
    assert all(step == stride for step in steps[:-1]) and all(step <= stride for step in steps)


def test_starts_by_hand():
    assert patches.starts(256, 128, 32) == [0, 32, 64, 96, 128]
    assert patches.starts(128, 128, 32) == [0]
    assert patches.starts(10, 4, 4) == [0, 4, 6]
    assert patches.starts(3, 4, 2) == [0]


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    size=st.tuples(*[st.integers(1, 5)] * 3),
    data=st.data(),
)
def test_every_voxel_of_every_region_is_in_a_patch(shape, size, data):
    stride = tuple(data.draw(st.integers(1, side)) for side in size)
    case = case_of(shape, shape[::-1])
    found = examples_of(patches.Sampler(size, stride, None), case)
    seen = set()
    for image, label in found:
        assert image.shape == label.shape == size
        seen |= set(label.unique().tolist())
        # Image and label are of the same place; where there is no data, of the background.
        assert torch.equal(label[label > 0], image[label > 0])
        assert (image[label == 0] == image.min()).all()
    assert seen - {0} == set(range(1, 2 * int(np.prod(shape)) + 1))


# -- random patches -------------------------------------------------------------------------------


def boxes_of(examples: list, shape: tuple[int, int, int]) -> list[list[tuple[int, int]]]:
    """Where in a single region the voxels of each example come from."""
    boxes = []
    for _, label in examples:
        places = np.unravel_index(label[label > 0].numpy() - 1, shape)
        boxes.append([(int(axis.min()), int(axis.max()) + 1) for axis in places])
    return boxes


def test_random_patches_are_as_many_as_asked_for_and_of_every_region():
    case = case_of((4, 5, 6), (4, 5, 6))
    sampler = patches.Sampler((2, 2, 2), None, 40)
    assert sampler.places(case) == [()] * 40
    firsts = [bool((image > 120).all()) for image, _ in examples_of(sampler, case)]
    assert 10 < sum(firsts) < 30


def test_random_patches_reach_every_place_of_a_region():
    shape = (3, 4, 6)
    sampler = patches.Sampler((2, 2, 2), None, 400)
    starts = {
        tuple(low for low, _ in box)
        for box in boxes_of(examples_of(sampler, case_of(shape)), shape)
    }
    assert starts == set(product(range(2), range(3), range(5)))


def test_a_region_is_moved_by_what_its_slack_allows():
    # The region proper is 6 x 5 x 4 voxels; nothing lies before it along x, nor behind along y.
    slack = [((3, 2), (1, 0), (0, 4))]
    shape = (11, 6, 8)
    sampler = patches.Sampler((6, 5, 4), None, 600)
    boxes = boxes_of(examples_of(sampler, case_of(shape, slack=slack)), shape)
    for axis, side in enumerate((6, 5, 4)):
        sides = [box[axis] for box in boxes]
        # However the region is moved, what it lacks of a patch is filled from around it.
        assert {high - low for low, high in sides} == {side}
        assert {low for low, _ in sides} == set(range(shape[axis] - side + 1))


def test_a_moved_side_comes_in_as_far_as_it_goes_out():
    """Four voxels with four behind: the end is 0 to 8, each as likely, and never before 1."""
    sampler = patches.Sampler((1, 1, 1), None, 1500)
    case = case_of((1, 1, 8), slack=[((0, 0), (0, 0), (0, 4))])
    boxes = boxes_of(examples_of(sampler, case), (1, 1, 8))
    found = np.bincount([box[2][0] for box in boxes], minlength=8) / len(boxes)
    ends = [1, *range(1, 9)]
    expected = [sum(1 / end for end in ends if place < end) / 9 for place in range(8)]
    np.testing.assert_allclose(found, expected, atol=0.04)


def test_a_patch_larger_than_the_array_is_padded():
    case = case_of((4, 5, 6), slack=[((1, 1), (2, 1), (0, 0))])
    for image, label in examples_of(patches.Sampler((8, 5, 7), None, 20), case):
        assert image.shape == label.shape == (8, 5, 7)
        assert (label > 0).sum() == 4 * 5 * 6


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_patch_of_a_small_region_is_padded_as_the_region_is(kind):
    """A prediction pads the whole region, so its least value, not that of the patch."""
    image = np.full((2, 8, 8), 0.5, np.float16)
    image[0, 0, 0] = -1
    case = Case("c", [kind(image)], [kind(np.zeros((2, 8, 8), np.uint8))], [])
    sampler = sampler_of(PatchSampler(name="patches", size=(4, 4, 4), stride=(4, 4, 4)))
    found = [patch for patch, _ in examples_of(sampler, case)]
    assert len(found) == 4
    assert all((patch[0] == -1).all() and (patch[3] == -1).all() for patch in found)


@settings(max_examples=60, deadline=None)
@given(
    sides=st.tuples(*[st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(0, 4))] * 3),
    size=st.tuples(*[st.integers(1, 6)] * 3),
    seed=st.integers(0, 1000),
)
def test_moved_patches_stay_within_the_array(sides, size, seed):
    shape = tuple(sum(side) for side in sides)
    slack = [tuple((before, behind) for before, _, behind in sides)]
    sampler = patches.Sampler(size, None, 8)
    found = examples_of(sampler, case_of(shape, slack=slack), seed)
    boxes = boxes_of(found, shape)
    for (image, label), box in zip(found, boxes, strict=True):
        assert image.shape == label.shape == size
        lengths = [high - low for low, high in box]
        assert (label > 0).sum() == np.prod(lengths)  # a box without holes
        assert all(0 < length <= side for length, side in zip(lengths, size, strict=True))


def test_a_patch_is_as_full_as_its_region_allows():
    shape = (3, 9, 2)
    for box in boxes_of(examples_of(patches.Sampler((4, 4, 4), None, 20), case_of(shape)), shape):
        assert [high - low for low, high in box] == [3, 4, 2]


@pytest.mark.parametrize("ways", [{"stride": (1, 1, 1)}, {"per_case": 1}])
def test_small_regions_are_padded_with_air_and_background(ways):
    image = np.array([[[3, -5, 2]]], np.float16)
    label = np.array([[[1, 2, 2]]], np.uint8)
    settings_of = PatchSampler(name="patches", size=(2, 3, 5), **ways)
    ((padded, truth),) = examples_of(sampler_of(settings_of), Case("c", [image], [label], []))
    assert padded.dtype == torch.float16 and truth.dtype == torch.uint8
    assert padded[0, 1].tolist() == [-5, 3, -5, 2, -5]
    assert truth[0, 1].tolist() == [0, 1, 2, 2, 0]
    padded[0, 1], truth[0, 1] = -5, 0
    assert (padded == -5).all() and (truth == 0).all()


# -- slices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "context", "length", "expected"),
    [
        (4, 1, 9, [4]),
        (4, 5, 9, [2, 3, 4, 5, 6]),
        (0, 5, 9, [0, 0, 0, 1, 2]),
        (8, 5, 9, [6, 7, 8, 8, 8]),
        (1, 5, 2, [0, 0, 1, 1, 1]),
        (0, 3, 1, [0, 0, 0]),
    ],
)
def test_the_outermost_slice_stands_for_neighbours_that_are_missing(
    number, context, length, expected
):
    assert slices.neighbours(number, context, length) == expected


@pytest.mark.parametrize("context", [1, 3, 5])
def test_slices_come_with_their_neighbours(context):
    case = case_of((4, 2, 3), (2, 2, 3))
    sampler = slices.Sampler(context, None)
    assert sampler.places(case) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    for (region, number), (image, label) in zip(
        sampler.places(case), examples_of(sampler, case), strict=True
    ):
        whole = case.images[region]
        around = slices.neighbours(number, context, len(whole))
        assert image.shape == (context, 2, 3)
        np.testing.assert_array_equal(image, whole[around])
        np.testing.assert_array_equal(label, case.labels[region][number : number + 1])


def test_only_slices_with_kidney():
    label = np.zeros((5, 2, 2), np.uint8)
    label[1, 0, 0], label[3, 1, 1] = 1, 2
    case = Case("c", [np.zeros((5, 2, 2), np.float16)] * 2, [label, np.zeros_like(label)], [])
    assert slices.Sampler(1, "kidney").places(case) == [(0, 1), (0, 3)]
    assert len(slices.Sampler(1, None).places(case)) == 10


# -- windows --------------------------------------------------------------------------------------


def columns(length: int, kidney: tuple[int, int] | None) -> Case:
    label = np.zeros((length, 1, 1), np.uint8)
    if kidney is not None:
        label[slice(*kidney)] = 1
    return Case("c", [np.arange(length, dtype=np.float16).reshape(-1, 1, 1)], [label], [])


@pytest.mark.parametrize(
    ("length", "kidney", "expected"),
    [
        (200, (80, 120), (30, 106)),  # slices 30 to 170: windows begin at 30 to 106
        (200, (20, 60), (0, 46)),  # cut at the volume's beginning
        (200, (150, 190), (100, 136)),  # and at its end
        (200, None, (0, 136)),  # nothing to be around
        (70, (30, 40), (0, 6)),
        (64, (30, 40), (0, 0)),
        (40, (10, 20), (0, 0)),  # short
    ],
)
def test_windows_begin_within_the_range_round_the_kidney(length, kidney, expected):
    case = columns(length, kidney)
    assert windows.Sampler(64, "kidney", 50).places(case) == [(0, *expected)]
    assert windows.Sampler(64, None, 50).places(case) == [(0, 0, max(0, length - 64))]


def test_a_range_shorter_than_a_window_is_seen_whole():
    # Slices 95 to 105, in a window of 64 that stays in the volume.
    assert windows.Sampler(64, "kidney", 5).places(columns(200, (100, 101))) == [(0, 95, 95)]
    assert windows.Sampler(64, "kidney", 5).places(columns(150, (100, 101))) == [(0, 86, 86)]


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 90),
    window=st.integers(1, 40),
    extend=st.integers(0, 20),
    data=st.data(),
)
def test_windows_lie_in_the_volume_and_in_the_range_where_it_is_long_enough(
    length, window, extend, data
):
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first + 1, length))
    case = columns(length, (first, last))
    sampler = windows.Sampler(window, "kidney", extend)
    ((_, begin, end),) = sampler.places(case)
    low, high = max(first - extend, 0), min(last + extend, length)
    assert 0 <= begin <= end
    if length >= window:
        assert end + window <= length
        if high - low >= window:
            assert (begin, end + window) == (low, high)
        else:
            assert begin <= low and high <= begin + window
    image, label = sampler.cut(case, (0, begin, end), generator())
    assert len(image) == len(label) == window


def test_windows_are_drawn_from_the_whole_range():
    case = columns(12, (4, 8))
    sampler = windows.Sampler(4, "kidney", 2)
    random = generator()
    (place,) = sampler.places(case)
    found = set()
    for _ in range(100):
        image, label = sampler.cut(case, place, random)
        start = int(image[0])
        assert image.flatten().tolist() == list(range(start, start + 4))
        np.testing.assert_array_equal(label, case.labels[0][start : start + 4])
        found.add(start)
    assert found == {2, 3, 4, 5, 6}


def test_a_short_volume_is_padded_with_air_and_background():
    case = columns(2, (0, 2))
    case.images[0] = case.images[0] - np.float16(7)
    ((image, label),) = examples_of(windows.Sampler(5, None, 0), case)
    assert image.flatten().tolist() == [-7, -7, -6, -7, -7]
    assert label.flatten().tolist() == [0, 1, 1, 0, 0]


def test_several_windows_of_a_case_are_an_epoch():
    sampler = windows.Sampler(4, None, 0, per_case=3)
    assert sampler.places(case_of((9, 1, 1))) == [(0, 0, 5)] * 3


def test_a_window_of_every_region():
    case = case_of((9, 1, 1), (5, 1, 1))
    assert windows.Sampler(4, None, 0).places(case) == [(0, 0, 5), (1, 0, 1)]


# -- volumes --------------------------------------------------------------------------------------


def test_regions_are_stacked_in_order_unless_shuffled():
    case = case_of((2, 1, 1), (2, 1, 1), (2, 1, 1))
    ((image, label),) = examples_of(volume.Sampler(False), case)
    assert image.flatten().tolist() == label.flatten().tolist() == [1, 2, 3, 4, 5, 6]
    orders = set()
    for seed in range(60):
        ((image, label),) = examples_of(volume.Sampler(True), case, seed)
        assert torch.equal(image, label)
        orders.add(tuple(image.flatten()[::2].tolist()))
    assert len(orders) == 6
