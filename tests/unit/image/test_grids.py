"""Resampling: as SciPy computes it, and there and back without a shift."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from renal.image.boxes import inside, slices
from renal.image.grids import grid_size, labels_to_grid, to_grid, to_native
from renal.image.settings import Geometry
from renal.labels import KITS19
from renal.recipe.schemes import KITS23, ScoredRegion, labels_of

RNG = np.random.default_rng(3)


def smooth(shape, seed=0):
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return ndimage.gaussian_filter(noise, 1) * 300


def by_scipy(array, size):
    """Both grids cover the same box: index g lies at (g + 0.5) * length / size - 0.5."""
    axes = [
        (np.arange(n) + 0.5) * length / n - 0.5 for n, length in zip(size, array.shape, strict=True)
    ]
    places = np.meshgrid(*axes, indexing="ij")
    return ndimage.map_coordinates(array.astype(np.float64), places, order=1, mode="nearest")


def whole(shape):
    return tuple((0, length) for length in shape)


@st.composite
def boxes_in(draw, shape):
    sides = []
    for length in shape:
        start = draw(st.integers(0, length - 1))
        sides.append((start, draw(st.integers(start + 1, length))))
    return tuple(sides)


shapes = st.tuples(*[st.integers(1, 9)] * 3)


@pytest.mark.parametrize("size", [(9, 10, 11), (4, 5, 6), (18, 20, 22), (5, 30, 11), (1, 1, 1)])
def test_linear_values_are_those_of_scipy(size):
    volume = smooth((9, 10, 11))
    grid = to_grid(volume, whole(volume.shape), size)
    assert grid.shape == size and grid.dtype == np.float32
    np.testing.assert_allclose(grid, by_scipy(volume, size), atol=1e-2)


@pytest.mark.parametrize("order", "CF")
def test_hounsfield_units_are_rounded(order):
    volume = np.asarray(smooth((12, 14, 17)).astype(np.int16), order=order)
    box = ((1, 9), (3, 14), (0, 16))
    grid = to_grid(volume, box, (5, 8, 12))
    assert grid.dtype == np.int16
    expected = by_scipy(volume[slices(box)], (5, 8, 12))
    assert np.abs(grid - expected).max() < 0.501


@pytest.mark.parametrize("size", [(7, 13, 19), (4, 3, 5), (23, 17, 29), (5, 6, 4)])
@pytest.mark.parametrize("labels", [KITS19, KITS23], ids=["kits19", "kits23"])
def test_labels_are_regions_by_scipy_cut_at_one_half(size, labels):
    label = np.zeros((9, 11, 14), np.uint8, order="F")
    label[2:7, 3:8, 4:12] = RNG.integers(0, labels.count, (5, 5, 8))
    grid = labels_to_grid(label, whole(label.shape), size, labels)
    assert grid.dtype == np.uint8
    for region in labels.regions:
        share = by_scipy(region.mask(label), size)
        clear = np.abs(share - 0.5) > 1e-3
        np.testing.assert_array_equal(region.mask(grid)[clear], share[clear] > 0.5)


APART = labels_of(
    {1: "parenchyma", 2: "tumour", 3: "cyst", 4: "stent"},
    {
        name: ScoredRegion(labels=values, title=name, colour="#000000", tolerance_mm=1)
        for name, values in (("kidney", (1, 2, 3, 4)), ("a", (2,)), ("b", (3,)), ("c", (4,)))
    },
)


def test_no_parenchyma_is_made_where_lesions_touch():
    """Half of a voxel is one and half the other, which each have every other one."""
    label = np.full((8, 10, 10), 2, np.uint8)
    label[:, :, 5:] = 3
    grid = labels_to_grid(label, whole(label.shape), (8, 5, 5), APART)
    assert set(np.unique(grid)) == {2, 3}
    assert (grid == 2).sum() == (grid == 3).sum()


def test_an_edge_that_is_a_kidneys_and_its_tumours_is_the_same_of_both():
    """It lies in the middle of voxels, of which every other one counts, of both regions."""
    label = np.zeros((8, 16, 16), np.uint8)
    label[:, 3:13, 1:15], label[:, 3:9, 6:10] = 1, 2
    edge = labels_to_grid(label, whole(label.shape), (8, 8, 8))[:, 1, 3:5]
    assert set(np.unique(edge)) == {0, 2}


@pytest.mark.parametrize("size", [(7, 13, 19), (23, 17, 29)])
def test_regions_that_are_half_of_a_voxel_together_are_there_the_largest_of_them(size):
    label = np.zeros((9, 11, 14), np.uint8, order="F")
    label[2:7, 3:8, 4:12] = np.random.default_rng(0).integers(0, APART.count, (5, 5, 8))
    grid = labels_to_grid(label, whole(label.shape), size, APART)
    shares = {value: by_scipy(label == value, size) for value in range(1, APART.count)}
    lesions = np.array([shares[value] for value in (2, 3, 4)])
    kidney, lesion = sum(shares.values()), lesions.sum(0)
    second, first = np.sort(lesions, 0)[-2:]
    clear = (np.abs(kidney - 0.5) > 1e-3) & (np.abs(lesion - 0.5) > 1e-3) & (first - second > 1e-3)
    expected = np.where(lesion > 0.5, 2 + lesions.argmax(0), 1) * (kidney > 0.5)
    assert len(np.unique(expected[clear])) == APART.count
    np.testing.assert_array_equal(grid[clear], expected[clear])


@pytest.mark.parametrize("start", range(4))
def test_labels_on_half_as_many_voxels_are_neither_moved_nor_larger(start):
    """By the nearest voxel, at 2g + 1, a square that begins at an odd one is moved by a half."""
    label = np.zeros((1, 64, 64), np.uint8)
    label[:, 16 + start : 44 + start, 20 + start : 48 + start] = 1
    grid = labels_to_grid(label, whole(label.shape), (1, 32, 32))
    centres = [np.mean(np.argwhere(x), axis=0) for x in (label, grid)]
    np.testing.assert_allclose(2 * centres[1][1:] + 0.5, centres[0][1:], atol=0.1)
    assert abs(4 * grid.sum() / label.sum() - 1) < 0.02


@settings(max_examples=40, deadline=None)
@given(data=st.data(), size=shapes)
def test_labels_of_a_box_that_leaves_the_volume_are_those_of_the_padded_volume(data, size):
    label = np.zeros((8, 9, 7), np.uint8)
    label[2:6, 1:6, 2:6] = np.random.default_rng(1).integers(0, 3, (4, 5, 4))
    box = data.draw(boxes_around(label.shape))
    grid = labels_to_grid(label, box, size)
    large = padded(label, box, 0)
    np.testing.assert_array_equal(grid, labels_to_grid(large, whole(large.shape), size))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=shapes)
def test_a_grid_as_large_as_the_box_is_a_crop_and_is_pasted_back(data, shape):
    box = data.draw(boxes_in(shape))
    volume = np.random.default_rng(0).integers(-1000, 2000, shape).astype(np.int16)
    size = tuple(high - low for low, high in box)
    grid = to_grid(volume, box, size)
    np.testing.assert_array_equal(grid, volume[slices(box)])
    native, native_box = to_native(grid, box)
    assert native_box == box
    pasted = volume.copy()
    pasted[slices(box)] = 0
    pasted[slices(native_box)] = native
    np.testing.assert_array_equal(pasted, volume)


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    shape=shapes,
    size=shapes,
    value=st.integers(-1000, 2000),
)
def test_a_constant_stays_constant_there_and_back(data, shape, size, value):
    box = data.draw(boxes_in(shape))
    for dtype in (np.int16, np.float32):
        grid = to_grid(np.full(shape, value, dtype), box, size)
        assert grid.shape == size and grid.dtype == dtype and (grid == value).all()
        native, _ = to_native(grid, box)
        assert native.dtype == np.float32 and (native == value).all()


def test_the_way_back_is_that_of_scipy():
    grid = RNG.random((6, 8, 5), np.float32)
    box = ((2, 13), (0, 5), (4, 24))
    native, native_box = to_native(grid, box)
    assert native_box == box and native.dtype == np.float32
    np.testing.assert_allclose(native, by_scipy(grid, (11, 5, 20)), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    size=st.tuples(*[st.integers(1, 14)] * 3),
)
def test_a_window_gives_the_full_result_and_zero_beyond(data, shape, size):
    box, window = data.draw(boxes_in(shape)), data.draw(boxes_in(size))
    grid = np.zeros(size, np.float32)
    within = grid[slices(window)].shape
    grid[slices(window)] = np.random.default_rng(0).uniform(0.1, 1, within)
    native, native_box = to_native(grid, box, window)
    restored, expected = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    restored[slices(native_box)] = native
    expected[slices(box)] = to_native(grid, box)[0]
    np.testing.assert_allclose(restored, expected, atol=1e-6)
    assert all(
        low <= start and stop <= high
        for (start, stop), (low, high) in zip(native_box, box, strict=True)
    )


def test_a_window_spares_most_of_the_work():
    native, native_box = to_native(
        np.zeros((50,) * 3, np.float32), ((0, 100),) * 3, ((20, 30),) * 3
    )
    assert native.size < 0.03 * 100**3
    assert all(30 < low < 40 and 60 < high < 70 for low, high in native_box)


# -- grids that a recipe describes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        ({}, (30, 40, 50)),
        ({"size": (7, 8, 9)}, (7, 8, 9)),
        ({"size": (None, 8, None)}, (30, 8, 50)),
        ({"spacing": (1, 1, 1)}, (90, 30, 40)),
        ({"spacing": (2, None, None)}, (45, 40, 50)),
        ({"spacing": (2, None, None), "size": (None, 16, 24)}, (45, 16, 24)),
        ({"spacing": (None, None, 1.7), "size": (5, None, None)}, (5, 40, 24)),  # 40 / 1.7 = 23.5
        ({"spacing": (1000, 1000, 1000)}, (1, 1, 1)),
    ],
)
def test_axes_are_sized_by_number_by_spacing_or_by_the_scan(geometry, size):
    # 90 x 30 x 40 mm.
    box = ((5, 35), (0, 40), (10, 60))
    assert grid_size(Geometry(**geometry), box, (3.0, 0.75, 0.8)) == size


# -- boxes that leave the volume ------------------------------------------------------------------


@st.composite
def boxes_around(draw, shape):
    """Boxes that hold a part of the volume and may leave it on each side."""
    return tuple(
        (draw(st.integers(-4, length - 1)), draw(st.integers(length, length + 5)))
        for length in shape
    )


def padded(volume, box, value):
    """The voxels of a box that may leave the volume."""
    pads = [
        (max(0, -low), max(0, high - length))
        for (low, high), length in zip(box, volume.shape, strict=True)
    ]
    array = np.pad(volume, pads, constant_values=value)
    return array[
        tuple(
            slice(low + before, high + before)
            for (low, high), (before, _) in zip(box, pads, strict=True)
        )
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), shape=shapes)
def test_at_native_resolution_a_box_beyond_the_volume_is_the_padded_volume(data, shape):
    box = data.draw(boxes_around(shape))
    size = tuple(high - low for low, high in box)
    volume = np.random.default_rng(0).integers(-1000, 2000, shape).astype(np.int16)
    expected = padded(volume, box, -1024)
    grid = to_grid(volume, box, size, outside=-1024)
    np.testing.assert_array_equal(grid, expected)
    # And back: what lies in the volume comes back bit for bit.
    native, native_box = to_native(grid.astype(np.float32), box)
    assert native_box == box
    cut = inside(box, shape)
    starts = [low for low, _ in box]
    part = tuple(slice(low - s, high - s) for (low, high), s in zip(cut, starts, strict=True))
    np.testing.assert_array_equal(native[part], volume[slices(cut)])


@pytest.mark.parametrize("size", [(11, 14, 16), (31, 9, 40), (15, 33, 20)])
def test_a_grid_beyond_the_volume_has_the_values_of_padding(size):
    volume, box = smooth((9, 11, 13)), ((-6, 14), (-3, 19), (0, 20))
    grid = to_grid(volume, box, size, outside=-500)
    expected = by_scipy(padded(volume, box, -500), size)
    places = np.meshgrid(
        *[
            low + (np.arange(n) + 0.5) * (high - low) / n - 0.5
            for n, (low, high) in zip(size, box, strict=True)
        ],
        indexing="ij",
    )
    lengths = list(zip(places, volume.shape, strict=True))
    within = np.all([(axis >= 0) & (axis <= n - 1) for axis, n in lengths], axis=0)
    beyond = np.any([(axis < -0.51) | (axis > n - 0.49) for axis, n in lengths], axis=0)
    assert within.any() and beyond.any()
    np.testing.assert_allclose(grid[within], expected[within], atol=1e-2)
    assert (grid[beyond] == -500).all()
    # A voxel is as large as its spacing: up to its rim the edge value holds, not a mixture.
    inner = np.all([(axis > -0.49) & (axis < n - 0.51) for axis, n in lengths], axis=0)
    rim = inner & ~within
    assert rim.any() and (grid[rim] >= volume.min() - 1e-2).all()


@settings(max_examples=30, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(*[st.integers(4, 12)] * 3),
    factors=st.tuples(*[st.integers(1, 3)] * 3),
)
def test_a_ramp_on_a_grid_beyond_the_volume_comes_back(data, shape, factors):
    box = data.draw(boxes_around(shape))
    size = tuple((high - low) * factor for (low, high), factor in zip(box, factors, strict=True))
    ramp = sum(
        weight * axis for weight, axis in zip((1, -2, 3), np.indices(shape), strict=True)
    ).astype(np.float32)
    grid = to_grid(ramp, box, size, outside=0)
    native, native_box = to_native(grid, box)
    assert native_box == box
    cut = inside(box, shape)
    # The outermost native voxels mix with what is outside, those within do not.
    inner = tuple(
        (max(low, 0) + 1, min(high, n) - 1) for (low, high), n in zip(cut, shape, strict=True)
    )
    starts = [low for low, _ in box]
    part = tuple(slice(low - s, high - s) for (low, high), s in zip(inner, starts, strict=True))
    np.testing.assert_allclose(native[part], ramp[slices(inner)], atol=1e-4)
