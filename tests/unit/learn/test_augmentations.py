"""Tests of augmentation: geometry by hand, image and target moved together, reproducible."""

import math
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from renal.learn import augmentations
from renal.learn.augmentations import (
    affine,
    blur,
    equalize,
    flip,
    in_plane,
    mirror,
    rotation,
)
from renal.learn.augmentations.settings import Flip, Rotation

EVERY = {
    "rotation": partial(rotation.transform, degrees=40, fill=0),
    "affine": partial(affine.transform, degrees=20, shift=0.2, crop=0.7, probability=1, fill=0),
    "flip": partial(flip.transform, probability=1),
    "mirror": partial(mirror.transform, axes=["y", "x"], probability=1),
    "equalize": partial(equalize.transform, probability=1, fill=0),
    "blur": partial(blur.transform, sigma=1, probability=1),
}
GEOMETRIC = [name for name in EVERY if name not in ("equalize", "blur")]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def example(batch: int = 2, size: tuple[int, int, int] = (3, 8, 8)) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, 1, *size, generator=generator)
    target = (torch.rand(batch, 1, *size, generator=generator) > 0.5).float()
    return image, target


@pytest.fixture
def draw(monkeypatch):
    """Makes torch.rand give what is asked for, in turn: 1 is the largest angle, 0 its opposite."""

    def fix(*values: float) -> None:
        waiting = iter(values)

        def rand(*shape: int) -> torch.Tensor:
            return torch.tensor(list(islice(waiting, math.prod(shape)))).reshape(shape)

        monkeypatch.setattr(torch, "rand", rand)

    return fix


# -- any transform ------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", EVERY.values(), ids=EVERY)
def test_neighbouring_slices_go_with_the_target_of_the_middle_one(transform):
    image, target = example(size=(5, 12, 10))
    torch.manual_seed(0)
    whole_image, whole_target = transform(image, target)
    torch.manual_seed(0)
    moved_image, moved_target = transform(image, target[:, :, 2:3])
    assert torch.equal(moved_image, whole_image)
    assert torch.equal(moved_target, whole_target[:, :, 2:3])


@pytest.mark.parametrize("transform", EVERY.values(), ids=EVERY)
def test_channels_of_the_target_move_alike(transform):
    image, target = example(size=(3, 12, 10))
    other = 1 - target
    torch.manual_seed(0)
    _, first = transform(image, target)
    torch.manual_seed(0)
    _, second = transform(image, other)
    torch.manual_seed(0)
    _, both = transform(image, torch.cat([target, other], dim=1))
    assert torch.equal(both, torch.cat([first, second], dim=1))


@pytest.mark.parametrize("transform", [EVERY[name] for name in GEOMETRIC], ids=GEOMETRIC)
def test_structures_move_with_their_mask(transform):
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(30.0), indexing="ij")
    disc = ((rows - 17) ** 2 + (columns - 18) ** 2 < 36).float()
    target = torch.zeros(4, 1, 6, 40, 30)
    target[:, :, 1:3] = disc
    image, moved = transform(target, target)
    assert not torch.equal(moved, target)
    assert moved.any()
    assert ((image > 0.5) == (moved > 0.5)).float().mean() > 0.98


@pytest.mark.parametrize("name", ["equalize", "blur"])
def test_transforms_of_values_leave_the_target(name):
    image, target = example()
    changed, same = EVERY[name](image, target)
    assert same is target
    assert not torch.equal(changed, image)


@pytest.mark.parametrize("transform", EVERY.values(), ids=EVERY)
def test_what_is_handed_in_is_not_changed(transform):
    image, target = example()
    transform(image, target)
    for after, before in zip((image, target), example(), strict=True):
        assert torch.equal(after, before)


@pytest.mark.parametrize("name", ["affine", "mirror", "equalize", "blur"])
def test_transforms_happen_as_often_as_asked(name):
    image, target = example(batch=400, size=(1, 3, 3))
    changed, _ = partial(EVERY[name], probability=0.25)(image, target)
    count = sum(not torch.equal(a, b) for a, b in zip(changed, image, strict=True))
    assert 70 < count < 130


# -- rotation -----------------------------------------------------------------------------------


def test_rotation_by_nothing_is_the_identity(draw):
    image, target = example()
    draw(0.5, 0.5)
    turned_image, turned_target = rotation.transform(image, target, degrees=90, fill=3)
    assert torch.allclose(turned_image, image, atol=1e-5)
    assert torch.equal(turned_target, target)


@pytest.mark.parametrize("size", [(3, 8, 8), (2, 7, 7)])
def test_rotation_by_a_right_angle(draw, size):
    image, target = example(size=size)
    draw(1.0, 0.0)
    turned_image, turned_target = rotation.transform(image, target, degrees=90, fill=0)
    for case, turns in ((0, 1), (1, -1)):
        expected = torch.rot90(image[case], turns, dims=(-2, -1))
        assert torch.allclose(turned_image[case], expected, atol=1e-5)
        assert torch.equal(turned_target[case], torch.rot90(target[case], turns, dims=(-2, -1)))


def test_rotation_keeps_angles_in_slices_that_are_not_square(draw):
    """In voxels it is a rotation: a bar of 9 x 3 voxels along x becomes one along y."""
    draw(1.0)
    target = torch.zeros(1, 1, 2, 11, 21)
    target[..., 4:7, 6:15] = 1
    image = torch.where(target > 0, 100.0, -100.0)
    turned_image, turned_target = rotation.transform(image, target, degrees=90, fill=-100)
    expected = torch.zeros_like(target)
    expected[..., 1:10, 9:12] = 1
    assert torch.equal(turned_target, expected)
    assert torch.equal((turned_image > 0).float(), expected)


@pytest.mark.parametrize("fill", [-1.0, 0.0, 0.1, 1 / 3])
def test_voxels_from_outside_are_the_fill_and_background(draw, fill):
    draw(1.0)
    image, target = torch.full((1, 1, 1, 4, 12), 5.0), torch.ones(1, 1, 1, 4, 12)
    turned_image, turned_target = rotation.transform(image, target, degrees=90, fill=fill)
    inside = slice(4, 8)  # the 12 columns have become rows, of which four are seen
    assert torch.allclose(turned_image[..., inside], torch.tensor(5.0))
    assert turned_target[..., inside].all()
    for outside in (slice(0, 4), slice(8, 12)):
        assert (turned_image[..., outside] == torch.tensor(fill)).all()
        assert not turned_target[..., outside].any()


@pytest.mark.parametrize("module", [rotation, affine])
def test_without_a_fill_the_smallest_value_of_each_image_comes_in(module):
    image = torch.stack([torch.full((1, 1, 12, 12), 5.0), torch.full((1, 1, 12, 12), 8.0)])
    image[0, 0, 0, 2, 6], image[1, 0, 0, 2, 6] = 3.5, 6.25
    amount = {"degrees": 45}
    if module is affine:
        amount |= {"shift": 1e-9, "crop": 1 - 1e-9, "probability": 1}
    for _ in range(5):  # an angle near zero uncovers no corner
        turned, _ = module.transform(image, torch.ones_like(image), **amount, fill=None)
        outside = turned[:, 0, 0, 0, 0].tolist()
        assert outside[0] in (3.5, 5) or 3.5 <= outside[0] <= 5
        assert 6.25 <= outside[1] <= 8
    assert turned[0].min() >= 3.5 and turned[1].min() >= 6.25


def test_all_slices_of_a_case_turn_by_the_same_angle():
    image = torch.randn(2, 1, 1, 9, 9).expand(2, 1, 5, 9, 9).contiguous()
    turned, _ = rotation.transform(image, (image > 0).float(), degrees=45, fill=0)
    assert torch.equal(turned, turned[:, :, :1].expand_as(turned))
    # Two cases turn by two angles.
    twice = image[:1].repeat(2, 1, 1, 1, 1)
    same, _ = rotation.transform(twice, (twice > 0).float(), degrees=45, fill=0)
    assert not torch.allclose(same[0], same[1])


def test_angles_fill_the_range_and_stay_in_it(monkeypatch):
    angles = []
    original = in_plane.functional.affine_grid

    def remember(matrices, *arguments, **keywords):
        angles.extend(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).tolist())
        return original(matrices, *arguments, **keywords)

    monkeypatch.setattr(in_plane.functional, "affine_grid", remember)
    image, target = example(batch=200, size=(1, 4, 4))
    rotation.transform(image, target, degrees=30, fill=0)
    degrees = [math.degrees(angle) for angle in angles]
    assert -30 <= min(degrees) < -25
    assert 25 < max(degrees) <= 30


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 3), st.integers(2, 12), st.integers(2, 12)),
    seed=st.integers(0, 2**16),
    degrees=st.floats(1, 180),
    fill=st.floats(-1, 1),
)
def test_rotation_keeps_shape_and_a_binary_target(size, seed, degrees, fill):
    torch.manual_seed(seed)
    image, target = example(size=size)
    turned_image, turned_target = rotation.transform(image, target, degrees=degrees, fill=fill)
    assert turned_image.shape == image.shape
    assert turned_target.shape == target.shape
    assert set(turned_target.unique().tolist()) <= {0.0, 1.0}
    assert min(image.min(), fill) - 1e-4 <= turned_image.min()
    assert turned_image.max() <= max(image.max(), fill) + 1e-4


def test_image_and_target_move_together():
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(30.0), indexing="ij")
    disc = ((rows - 12) ** 2 + (columns - 18) ** 2 < 49).float()
    target = disc.expand(4, 1, 6, 40, 30).contiguous()
    transforms = (
        Rotation(name="rotation", degrees=90, fill=0),
        Flip(name="flip", probability=1),
    )
    for _ in range(5):
        image, moved = augmentations.augment(target, target, transforms)
        assert not torch.equal(moved, target)
        agreement = ((image > 0.5) == (moved > 0.5)).float().mean()
        assert agreement > 0.97  # bilinear and nearest part ways on the boundary only


# -- affine -------------------------------------------------------------------------------------


def moved(image, target, **given):
    """By default nothing is moved and all is chosen."""
    amounts = {"degrees": 1e-9, "shift": 1e-9, "crop": 1 - 1e-9, "probability": 1, "fill": 7}
    return affine.transform(image, target, **amounts | given)


def test_a_shift_by_hand(draw):
    image, target = example(size=(3, 8, 10))
    # Chosen, turned by nothing; along x half of 0.25 * 10 voxels and none, along y all of 0.25 * 8
    # forth and back; the whole slice.
    draw(0.0, 0.0, 0.5, 0.5, 0.75, 1.0, 0.5, 0.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5)
    moved_image, moved_target = moved(image, target, shift=0.25)
    # Case 0 comes from 1.25 voxels to the right and 2 below, case 1 from 2 above.
    assert torch.equal(moved_target[0, ..., :-2, :-1], target[0, ..., 2:, 1:])
    assert torch.equal(moved_target[1, ..., 2:, :], target[1, ..., :-2, :])
    assert not moved_target[0, ..., -2:, :].any() and not moved_target[1, ..., :2, :].any()
    between = 0.75 * image[0, ..., 2:, 1:-1] + 0.25 * image[0, ..., 2:, 2:]
    assert torch.allclose(moved_image[0, ..., :-2, :-2], between, atol=1e-5)
    assert torch.allclose(moved_image[0, ..., -2:, :], torch.tensor(7.0))


def test_half_the_sides_are_zoomed(draw):
    image, target = example(batch=1, size=(2, 8, 8))
    draw(0.0, 0.5, 0.5, 0.5, 0.0, 1.0, 0.0)  # the smallest part: the last columns, the first rows
    cut_image, cut_target = moved(image, target, crop=0.5)
    corner = target[..., :4, 4:]
    assert torch.equal(cut_target, corner.repeat_interleave(2, -1).repeat_interleave(2, -2))
    # New voxels lie a quarter of an old one to both sides of it.
    between = 0.75 * image[..., 0, 4] + 0.25 * image[..., 0, 5]
    assert torch.allclose(
        cut_image[..., 1, 1],
        0.75 * between + 0.25 * (0.75 * image[..., 1, 4] + 0.25 * image[..., 1, 5]),
        atol=1e-5,
    )


def test_rotated_shifted_and_cut_is_one_after_the_other_in_one_interpolation():
    """Smooth images are the same either way; of noise one interpolation leaves more than three."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    smooth = (torch.cos(rows / 9) + torch.sin(columns / 7)).expand(8, 1, 1, 64, 48).contiguous()
    noise = torch.randn(8, 1, 1, 64, 48)
    whole = {"degrees": 20, "shift": 0.1, "crop": 0.8}

    def one_by_one(image):
        for name in ("degrees", "shift", "crop"):
            torch.manual_seed(3)
            image, _ = moved(image, image, **{name: whole[name]})
        return image

    def at_once(image):
        torch.manual_seed(3)
        return moved(image, image, **whole)[0]

    def middle(images):
        return images[..., 24:40, 18:30]

    assert (middle(one_by_one(smooth)) - middle(at_once(smooth))).abs().max() < 0.05
    assert middle(at_once(noise)).std() > 1.2 * middle(one_by_one(noise)).std()


def test_half_of_the_images_are_left_as_they_are():
    image, target = example(batch=200, size=(1, 9, 9))
    changed, _ = moved(image, target, degrees=15, crop=0.8, probability=0.5)
    same = sum(torch.equal(a, b) for a, b in zip(changed, image, strict=True))
    assert 70 < same < 130


def test_shifts_fill_the_range_and_stay_in_it():
    image = torch.zeros(300, 1, 1, 41, 61)
    image[..., 20, 30] = 1
    shifted, _ = moved(image, image, shift=0.2, fill=0)
    shifted = shifted[:, 0, 0]
    for axis, length in ((1, 41), (2, 61)):
        others = tuple({1, 2} - {axis})
        weights = shifted.sum(others)
        places = (weights * torch.arange(length)).sum(1) / weights.sum(1) - length // 2
        assert -0.201 * length <= places.min() < -0.19 * length
        assert 0.19 * length < places.max() <= 0.201 * length


def test_crops_fill_the_range_and_the_slice():
    """In a ramp along x, a crop's values say where it begins and how long it is."""
    ramp = torch.arange(100.0).expand(300, 1, 1, 3, 100).contiguous()
    cut, _ = moved(ramp, ramp, crop=0.6)
    first, last = cut[:, 0, 0, 1, 1], cut[:, 0, 0, 1, -2]
    sides = (last - first) / 97
    assert 0.6 - 1e-4 < sides.min() < 0.61
    assert 0.99 < sides.max() < 1 + 1e-4
    assert first.min() < 1.1 and last.max() > 97.9


# -- mirror and flip ----------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [["x"], ["z"], ["y", "x"], ["z", "y", "x"]])
def test_mirror_turns_all_its_axes_at_once(axes):
    image, target = example(size=(3, 4, 5))
    mirrored_image, mirrored_target = mirror.transform(image, target, axes=axes, probability=1)
    places = [{"z": 2, "y": 3, "x": 4}[axis] for axis in axes]
    assert torch.equal(mirrored_image, image.flip(places))
    assert torch.equal(mirrored_target, target.flip(places))


def test_mirror_chooses_image_and_target_of_the_same_cases():
    image, _ = example(batch=50)
    mirrored_image, mirrored_target = mirror.transform(
        image, image, axes=["y", "x"], probability=0.5
    )
    assert torch.equal(mirrored_image, mirrored_target)
    assert not torch.equal(mirrored_image, image)


def test_certain_flip_mirrors_exactly_one_axis_and_each_in_turn():
    image, target = example(batch=60, size=(3, 4, 5))
    flipped_image, flipped_target = flip.transform(image, target, probability=1)
    chosen = []
    for case in range(60):
        axes = [
            axis for axis in (1, 2, 3) if torch.equal(flipped_image[case], image[case].flip(axis))
        ]
        assert len(axes) == 1
        assert torch.equal(flipped_target[case], target[case].flip(axes[0]))
        chosen += axes
    assert set(chosen) == {1, 2, 3}
    assert min(chosen.count(axis) for axis in (1, 2, 3)) > 8


def test_flip_happens_as_often_as_asked():
    image, target = example(batch=400, size=(2, 2, 2))
    flipped, _ = flip.transform(image, target, probability=0.25)
    count = sum(not torch.equal(a, b) for a, b in zip(flipped, image, strict=True))
    assert 70 < count < 130
    # What was handed in is left as it was.
    again, _ = example(batch=400, size=(2, 2, 2))
    assert torch.equal(image, again)


def test_a_single_slice_is_flipped_as_often_and_never_about_its_depth():
    image, target = example(batch=400, size=(1, 4, 5))
    flipped, flipped_target = flip.transform(image, target, probability=0.25)
    chosen = []
    for case in range(400):
        if not torch.equal(flipped[case], image[case]):
            (axis,) = (a for a in (2, 3) if torch.equal(flipped[case], image[case].flip(a)))
            assert torch.equal(flipped_target[case], target[case].flip(axis))
            chosen.append(axis)
    assert 70 < len(chosen) < 130
    assert min(chosen.count(axis) for axis in (2, 3)) > 25
    certain, _ = flip.transform(image, target, probability=1)
    assert not any(torch.equal(a, b) for a, b in zip(certain, image, strict=True))


# -- blur ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.4, 1, 2.5])
@pytest.mark.parametrize("size", [(2, 20, 30), (1, 3, 4)])
def test_blur_is_scipys_in_the_plane(sigma, size):
    image, target = example(size=size)
    blurred, _ = blur.transform(image, target, sigma=sigma, probability=1)
    radius = (0, 0, 0, *[math.ceil(4 * sigma)] * 2)
    expected = ndimage.gaussian_filter(
        image.numpy(), (0, 0, 0, sigma, sigma), mode="nearest", radius=radius
    )
    np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-5)


def test_blur_keeps_a_constant():
    image, target = torch.full((2, 1, 3, 6, 7), -0.3), torch.zeros(2, 1, 1, 6, 7)
    blurred, _ = blur.transform(image, target, sigma=1, probability=1)
    assert torch.allclose(blurred, image, atol=1e-6)


# -- equalize -----------------------------------------------------------------------------------


def equalized(image: torch.Tensor, fill: float | None = None) -> torch.Tensor:
    return equalize.transform(image, torch.zeros_like(image), probability=1, fill=fill)[0]


def test_equalized_values_are_evenly_spread_over_the_same_range():
    image, _ = example(size=(5, 40, 40))
    result = equalized(image.exp(), fill=-1)  # long-tailed, all of it counted
    for before, after in zip(image.exp(), result, strict=True):
        low, high = before.min(), before.max()
        assert after.min() == pytest.approx(low.item())
        assert after.max() == pytest.approx(high.item())
        shares = torch.histc((after - low) / (high - low), bins=10, min=0, max=1) / after.numel()
        assert (shares - 0.1).abs().max() < 0.02


def test_equalization_by_hand():
    # Two of three voxels lie in the first of 256 bins, one in the last; 0.5/256 is half a bin in.
    image = torch.tensor([0, 0.5 / 256, 1]).view(1, 1, 1, 1, 3)
    expected = torch.tensor([0, 1 / 3, 1])
    assert torch.allclose(equalized(image, fill=-5).flatten(), expected, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), fill=st.sampled_from([None, -1.0, 0.0]))
def test_equalization_keeps_order_and_background(seed, fill):
    image, _ = example(size=(2, 5, 6))
    image = image * torch.rand(2, 1, 1, 1, 1, generator=torch.Generator().manual_seed(seed))
    background = image.amin() if fill is None else torch.tensor(fill)
    image[..., :3] = background
    result = equalized(image, fill=fill)
    if fill is not None:
        assert (result[..., :3] == fill).all()
    for before, after in zip(image[..., 3:], result[..., 3:], strict=True):
        assert (after.flatten()[before.flatten().argsort()].diff() >= -1e-6).all()
        assert before.min() - 1e-6 <= after.min() and after.max() <= before.max() + 1e-6


def test_background_is_neither_changed_nor_counted():
    """A masked image gives within the mask what the part alone gives."""
    part, _ = example(batch=1, size=(1, 6, 6))
    masked = torch.zeros(1, 1, 1, 40, 40)
    masked[..., 10:16, 20:26] = part
    result = equalized(masked, fill=0)
    assert torch.equal(result[..., 10:16, 20:26], equalized(part, fill=0))
    outside = torch.ones_like(masked, dtype=torch.bool)
    outside[..., 10:16, 20:26] = False
    assert not result[outside].any()


def test_equalization_without_a_fill_leaves_the_smallest_value_out():
    image = torch.tensor([-1.0] * 90 + [0.0, 0.25, 1.0]).view(1, 1, 1, 1, 93)
    result = equalized(image).flatten()
    assert (result[:90] == -1).all()
    # 0.25 begins a bin of its own, with one voxel of three below it.
    assert torch.allclose(result[90:], torch.tensor([0.0, 1 / 3, 1.0]))


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_images_stay_as_they_are(value):
    image = torch.full((2, 1, 2, 4, 4), value)
    assert torch.equal(equalized(image, fill=0), image)
    assert torch.equal(equalized(image), image)


# -- all together -------------------------------------------------------------------------------


def test_seeded_draws_repeat():
    transforms = (
        Rotation(name="rotation", degrees=90, fill=0),
        Flip(name="flip", probability=0.5),
    )
    image, target = example(batch=4)
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(augmentations.augment(image, target, transforms))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][0], results[2][0])


def test_without_transforms_nothing_changes():
    image, target = example()
    same_image, same_target = augmentations.augment(image, target, ())
    assert same_image is image
    assert same_target is target


def test_transforms_are_applied_in_order(monkeypatch):
    order = []
    for name, module in (("rotation", rotation), ("flip", flip)):
        monkeypatch.setattr(
            module,
            "transform",
            lambda image, target, name=name, **_: order.append(name) or (image, target),
        )
    mirror = Flip(name="flip", probability=0.5)
    turn = Rotation(name="rotation", degrees=3, fill=0)
    augmentations.augment(*example(), (mirror, turn, mirror))
    assert order == ["flip", "rotation", "flip"]
