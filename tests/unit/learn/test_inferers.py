"""Tests of how stages predict: every slice once, and a predictor that changes nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.learn.inferers import infer
from renal.learn.inferers.settings import (
    SliceInference,
    SlidingWindowInference,
    WholeInference,
    WindowInference,
)
from renal.learn.inferers.windows import middle_windows
from renal.learn.samplers.slices import neighbours

WINDOWS = WindowInference(name="windows", length=64, step=32, keep=(16, 48))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def two_maps(images: torch.Tensor) -> torch.Tensor:
    """A predictor of two maps: the image, and its negative."""
    return torch.cat([images, -images], dim=1)


def sliding(size=(8, 8, 8), overlap=(4, 4, 4), weighting="gaussian"):
    return SlidingWindowInference(
        name="sliding_window", size=size, overlap=overlap, weighting=weighting
    )


# -- whole ----------------------------------------------------------------------------------------


def test_the_whole_volume_is_predicted_at_once():
    image = torch.randn(3, 4, 5)
    seen = []

    def predictor(images):
        seen.append(images.shape)
        return two_maps(images)

    (found,) = infer([image], predictor, WholeInference(name="whole"), context=1)
    assert seen == [(1, 1, 3, 4, 5)]
    assert torch.equal(found, torch.stack([image, -image]))


def test_regions_are_predicted_stacked_and_parted_again():
    images = [torch.randn(depth, 4, 5) for depth in (3, 1, 2)]
    seen = []

    def predictor(stacked):
        seen.append(stacked)
        return two_maps(stacked)

    found = infer(images, predictor, WholeInference(name="whole"), context=1)
    (stacked,) = seen
    assert torch.equal(stacked[0, 0], torch.cat(images))
    for maps, image in zip(found, images, strict=True):
        assert torch.equal(maps, torch.stack([image, -image]))


@pytest.mark.parametrize(
    "inference",
    [sliding(), WINDOWS, SliceInference(name="slices", batch=4)],
    ids=lambda inference: inference.name,
)
def test_every_region_is_otherwise_predicted_by_itself(inference):
    images = [torch.randn(size) for size in ((10, 8, 8), (3, 9, 5))]
    alone = [infer([image], two_maps, inference)[0] for image in images]
    together = infer(images, two_maps, inference)
    assert len(together) == 2
    for maps, expected, image in zip(together, alone, images, strict=True):
        assert torch.equal(maps, expected)
        torch.testing.assert_close(maps, torch.stack([image, -image]))


# -- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "step", "keep"), [(64, 32, (16, 48)), (5, 2, (1, 3)), (7, 7, (0, 7)), (4, 1, (3, 4))]
)
def test_every_slice_of_every_length_is_kept_once_from_the_middle(length, step, keep):
    for slices in range(length, 301):
        kept = []
        found = middle_windows(slices, length, step, keep)
        for start, first, last in found:
            assert 0 <= start <= slices - length
            assert 0 <= first < last <= length
            # The ends of a window are kept only where the volume ends.
            assert first >= keep[0] or start == 0
            assert last <= keep[1] or start == slices - length
            kept += range(start + first, start + last)
        assert kept == list(range(slices))
        assert len(found) <= 1 + -(-(slices - length) // step)


def test_windows_by_hand():
    assert middle_windows(64, 64, 32, (16, 48)) == [(0, 0, 64)]
    assert middle_windows(65, 64, 32, (16, 48)) == [(0, 0, 48), (1, 47, 64)]
    assert middle_windows(128, 64, 32, (16, 48)) == [(0, 0, 48), (32, 16, 48), (64, 16, 64)]


def test_slices_of_every_length_are_predicted_once_and_in_their_place():
    calls = []

    def predictor(images):
        assert images.shape[2] == 64
        calls.append(1)
        return two_maps(images)

    for length in range(1, 301):
        image = torch.arange(length).float().reshape(-1, 1, 1)
        (found,) = infer([image], predictor, WINDOWS, context=1)
        assert found.shape == (2, length, 1, 1)
        assert torch.equal(found[0], image) and torch.equal(found[1], -image)
    assert len(calls) < 300 * 10


def test_a_window_sees_the_slices_round_those_it_is_asked_for():
    seen = []

    def predictor(images):
        seen.append((int(images.min()), int(images.max())))
        return images

    infer([torch.arange(130.0).reshape(-1, 1, 1)], predictor, WINDOWS, context=1)
    assert seen == [(0, 63), (32, 95), (64, 127), (66, 129)]


def test_a_volume_shorter_than_a_window_is_padded_with_its_smallest_value():
    seen = []

    def predictor(images):
        seen.append(images)
        return images

    image = torch.arange(5.0, 8.0).reshape(-1, 1, 1)
    settings_of = WindowInference(name="windows", length=6, step=2, keep=(2, 4))
    (found,) = infer([image], predictor, settings_of, context=1)
    assert seen[0].flatten().tolist() == [5, 5, 6, 7, 5, 5]
    assert torch.equal(found[0], image)


# -- slices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 6, 7, 12])
@pytest.mark.parametrize("context", [1, 3, 5])
def test_slices_are_predicted_with_their_neighbours(length, context):
    image = torch.randn(length, 2, 3)
    batches = []

    def predictor(images):
        batches.append(len(images))
        assert images.shape[1:] == (1, context, 2, 3)
        return two_maps(images[:, :, context // 2 : context // 2 + 1])

    slices = SliceInference(name="slices", batch=3)
    (found,) = infer([image], predictor, slices, context=context)
    assert torch.equal(found, torch.stack([image, -image]))
    assert sum(batches) == length and max(batches) <= 3

    weights = torch.arange(1.0, context + 1)[:, None, None]  # the order of neighbours counts

    def sums(images):
        return (images * weights).sum(dim=2, keepdim=True)

    (found,) = infer([image], sums, slices, context=context)
    expected = [(image[neighbours(n, context, length)] * weights).sum(0) for n in range(length)]
    torch.testing.assert_close(found[0], torch.stack(expected))


def test_a_classifier_of_slices_gives_one_value_for_each():
    image = torch.randn(7, 2, 3)

    def predictor(images):
        return images.mean((2, 3, 4), keepdim=True)

    (found,) = infer([image], predictor, SliceInference(name="slices", batch=4), context=1)
    assert found.shape == (1, 7, 1, 1)
    torch.testing.assert_close(found[0], image.mean((1, 2), keepdim=True))


# -- sliding window -------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 19)] * 3),
    size=st.tuples(*[st.integers(4, 9)] * 3),
    weighting=st.sampled_from(["uniform", "gaussian"]),
    data=st.data(),
)
def test_a_predictor_that_changes_nothing_gives_the_image(shape, size, weighting, data):
    overlap = tuple(data.draw(st.integers(0, side - 1)) for side in size)
    image = torch.randn(shape)
    (found,) = infer([image], two_maps, sliding(size, overlap, weighting), context=1)
    assert found.shape == (2, *shape)
    torch.testing.assert_close(found, torch.stack([image, -image]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("weighting", "mode"), [("uniform", "constant"), ("gaussian", "gaussian")])
@pytest.mark.parametrize(
    ("shape", "size", "overlap"),
    [
        ((8, 8, 8), (8, 8, 8), (4, 4, 4)),
        ((21, 9, 30), (8, 8, 16), (4, 2, 8)),
        (*[(5, 4, 9)] * 2, (0,) * 3),
    ],
)
def test_it_equals_monais_sliding_window(monai, shape, size, overlap, weighting, mode):
    """Where shares of the patch are binary numbers: MONAI cuts decimals off other steps."""

    def predictor(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images.sin(), images.cumsum(2).sin()], dim=1)

    image = torch.randn(shape)
    (found,) = infer([image], predictor, sliding(size, overlap, weighting))
    shares = [shared / side for shared, side in zip(overlap, size, strict=True)]
    theirs = monai.inferers.sliding_window_inference
    expected = theirs(image[None, None], size, 1, predictor, shares, mode)
    assert torch.equal(found, expected[0])


@pytest.mark.parametrize("weighting", ["uniform", "gaussian"])
@pytest.mark.parametrize("shape", [(8, 8, 8), (3, 2, 1), (20, 9, 8)])
def test_constant_predictions_stay_constant(weighting, shape):
    (found,) = infer(
        [torch.randn(shape)],
        lambda images: torch.full_like(images, 0.75),
        sliding(weighting=weighting),
        context=1,
    )
    torch.testing.assert_close(found, torch.full((1, *shape), 0.75))


def test_an_image_smaller_than_a_patch_is_padded_with_its_smallest_value():
    seen = []

    def predictor(images):
        seen.append(images.clone())
        return images.clone()

    image = torch.rand(3, 8, 5) + 7
    infer([image], predictor, sliding(), context=1)
    (patch,) = seen
    assert patch.shape == (1, 1, 8, 8, 8)
    assert torch.equal(patch[0, 0, 2:5, :, 1:6], image)
    assert (patch.sort().values >= 7).all()
    patch[0, 0, 2:5, :, 1:6] = image.min()
    assert (patch == image.min()).all()


@pytest.mark.parametrize(
    ("length", "side", "overlap", "starts"),
    [
        (256, 128, 96, [0, 32, 64, 96, 128]),
        (20, 8, 4, [0, 4, 8, 12]),
        (20, 8, 0, [0, 8, 12]),
        # Shares of these overlaps are no binary numbers.
        (27, 15, 12, [0, 3, 6, 9, 12]),
        (22, 10, 8, [0, 2, 4, 6, 8, 10, 12]),
        (19, 5, 4, list(range(15))),
    ],
)
def test_patches_overlap_by_as_many_voxels_as_the_recipe_says(length, side, overlap, starts):
    seen = []

    def predictor(images):
        seen.append(int(images.min()))
        return images.clone()

    image = torch.arange(float(length)).reshape(-1, 1, 1).repeat(1, 4, 4)
    infer([image], predictor, sliding((side, 4, 4), (overlap, 0, 0), "uniform"), context=1)
    assert seen == starts


def test_uniform_weights_are_a_plain_mean_and_gaussian_ones_favour_the_middle():
    image = torch.zeros(12, 4, 4)

    def of_two(weighting: str) -> torch.Tensor:
        patches = iter([0.0, 1.0])
        settings_of = sliding((8, 4, 4), (4, 0, 0), weighting)
        (found,) = infer(
            [image], lambda images: torch.full_like(images, next(patches)), settings_of
        )
        return found

    uniform, gaussian = (of_two(name)[0, :, 2, 2] for name in ("uniform", "gaussian"))
    assert uniform.tolist() == [0] * 4 + [0.5] * 4 + [1] * 4
    assert gaussian[:4].tolist() == [0] * 4 and gaussian[8:].tolist() == [1] * 4
    middle = gaussian[4:8].tolist()
    # Slice 4 lies in the middle of the first patch and at the edge of the second.
    assert middle == sorted(middle) and middle[0] < 0.1 and middle[-1] > 0.9


@pytest.mark.parametrize("weighting", ["uniform", "gaussian"])
def test_patches_are_put_together_where_the_image_is(weighting):
    class Elsewhere:
        """Maps on another device: nothing can be done with them but to fetch them."""

        def __init__(self, maps: torch.Tensor):
            self.maps = maps

        def to(self, device: torch.device) -> torch.Tensor:
            fetched.append(device)
            return self.maps

    fetched: list[torch.device] = []
    image = torch.randn(12, 8, 8)
    settings_of = sliding(weighting=weighting)
    (found,) = infer([image], lambda images: Elsewhere(two_maps(images)), settings_of, context=1)
    assert fetched == [image.device] * 2
    torch.testing.assert_close(found, torch.stack([image, -image]))
