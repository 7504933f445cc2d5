"""Tests of augmentation: geometry by hand, image and target moved together, reproducible."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from renal import augmentations, recipe
from renal.augmentations import flip, rotation


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
    """Makes torch.rand give what is asked for: 1 is the largest angle, 0 its opposite."""

    def fix(*values: float) -> None:
        monkeypatch.setattr(torch, "rand", lambda count: torch.tensor(values[:count]))

    return fix


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
    original = rotation.functional.affine_grid

    def remember(matrices, *arguments, **keywords):
        angles.extend(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).tolist())
        return original(matrices, *arguments, **keywords)

    monkeypatch.setattr(rotation.functional, "affine_grid", remember)
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
        recipe.Rotation(name="rotation", degrees=90, fill=0),
        recipe.Flip(name="flip", probability=1),
    )
    for _ in range(5):
        image, moved = augmentations.augment(target, target, transforms)
        assert not torch.equal(moved, target)
        agreement = ((image > 0.5) == (moved > 0.5)).float().mean()
        assert agreement > 0.97  # bilinear and nearest part ways on the boundary only


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


def test_seeded_draws_repeat():
    transforms = (
        recipe.Rotation(name="rotation", degrees=90, fill=0),
        recipe.Flip(name="flip", probability=0.5),
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
    mirror = recipe.Flip(name="flip", probability=0.5)
    turn = recipe.Rotation(name="rotation", degrees=3, fill=0)
    augmentations.augment(*example(), (mirror, turn, mirror))
    assert order == ["flip", "rotation", "flip"]
