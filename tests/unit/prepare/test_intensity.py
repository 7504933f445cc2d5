"""Intensity: the table of values gives what plain arithmetic on every voxel gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from renal.prepare.intensity import median_filtered, normalize, statistics_of
from renal.prepare.settings import Intensity

RECIPES = [
    {},
    {"window": (-79, 304)},
    {"standardize": True},
    {"rescale": (-1, 1)},
    {"window": (-200, 400), "standardize": True},
    {"window": (-200, 300), "rescale": (0, 1)},
    {"window": (-200, 400), "standardize": True, "rescale": (-1, 1)},
]


def volume_of(shape=(9, 10, 37), seed=0, order="C"):
    values = np.random.default_rng(seed).normal(0, 400, shape).clip(-1024, 3000)
    return np.asarray(values.astype(np.int16), order=order)


def plain(volume, reference, window=None, standardize=False, rescale=None):
    values, whole = volume.astype(np.float64), reference.astype(np.float64)
    if window is not None:
        values, whole = values.clip(*window), whole.clip(*window)
    if standardize:
        mean, deviation = whole.mean(), whole.std()
        values, whole = (values - mean) / deviation, (whole - mean) / deviation
    if rescale is not None:
        low, high = rescale
        values = low + (values - whole.min()) * (high - low) / (whole.max() - whole.min())
        values = values.clip(low, high)
    return values


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("order", "CF")
def test_every_recipe_gives_what_plain_arithmetic_gives(recipe, order):
    volume = volume_of(order=order)
    result = normalize(volume, Intensity(**recipe))
    assert result.dtype == np.float16 and result.shape == volume.shape
    np.testing.assert_allclose(result, plain(volume, volume, **recipe), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_part_is_normalised_with_the_values_of_the_whole(recipe):
    volume = volume_of()
    part = volume[2:5, 3:, 7:20]
    result = normalize(part, Intensity(**recipe), statistics_of(volume, Intensity(**recipe)))
    np.testing.assert_array_equal(result, normalize(volume, Intensity(**recipe))[2:5, 3:, 7:20])
    other = volume_of(seed=1) // 3  # whose range is smaller than the part's
    result = normalize(part, Intensity(**recipe), statistics_of(other, Intensity(**recipe)))
    np.testing.assert_allclose(result, plain(part, other, **recipe), rtol=1e-3, atol=1e-3)


def test_the_range_is_reached_and_never_left():
    recipe = Intensity(window=(-200, 400), standardize=True, rescale=(-1, 1))
    volume = volume_of()
    result = normalize(volume, recipe)
    assert result.min() == -1 and result.max() == 1
    part = normalize(volume, recipe, statistics_of(volume // 4, recipe))
    assert part.min() == -1 and part.max() == 1


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("value", [-32768, 0, 32767])
def test_a_constant_volume_gives_finite_values(recipe, value):
    result = normalize(np.full((3, 4, 5), value, np.int16), Intensity(**recipe))
    assert np.isfinite(result).all() and len(np.unique(result)) == 1


def test_the_volume_is_not_changed():
    volume = volume_of()
    volume.flags.writeable = False
    normalize(volume, Intensity(window=(-200, 400), standardize=True, rescale=(-1, 1)))
    np.testing.assert_array_equal(volume, volume_of())


# -- median -------------------------------------------------------------------------------------


@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9)),
    seed=st.integers(0, 2**16),
    order=st.sampled_from("CF"),
    size=st.sampled_from([3, 5]),
)
def test_median_is_scipys_with_repeated_edges(shape, seed, order, size):
    volume = volume_of(shape, seed, order)
    volume.flags.writeable = False
    result = median_filtered(volume, size)
    assert result.dtype == np.int16
    np.testing.assert_array_equal(result, ndimage.median_filter(volume, size, mode="nearest"))


def test_median_comes_before_everything_else():
    volume = volume_of()
    steps = {"window": (-200, 400), "standardize": True, "rescale": (-1, 1)}
    filtered = ndimage.median_filter(volume, 3, mode="nearest")
    result = normalize(volume, Intensity(median=3, **steps))
    np.testing.assert_array_equal(result, normalize(filtered, Intensity(**steps)))
    assert not np.array_equal(result, normalize(volume, Intensity(**steps)))


def test_median_removes_single_voxels():
    volume = np.full((5, 6, 7), 40, np.int16)
    volume[2, 3, 3] = 3000
    assert (median_filtered(volume, 3) == 40).all()


def test_median_of_a_part_leaves_the_values_of_the_whole():
    volume, steps = volume_of(), {"standardize": True}
    part = volume[2:5, 3:, 7:20]
    filtered = ndimage.median_filter(part, 3, mode="nearest")
    result = normalize(
        part, Intensity(median=3, **steps), statistics_of(volume, Intensity(median=3, **steps))
    )
    expected = normalize(filtered, Intensity(**steps), statistics_of(volume, Intensity(**steps)))
    np.testing.assert_array_equal(result, expected)


def test_the_windows_ends_become_the_ranges_whether_a_scan_reaches_them_or_not():
    """Divided by 200, water is 0 in a scan without bone, too; what fills in relies on that."""
    soft = np.array([[[-150, 0, 100]]], np.int16)
    result = normalize(soft, Intensity(window=(-200, 200), rescale=(-1, 1)))
    assert result.tolist() == [[[-0.75, 0, 0.5]]]
