"""Tests of the losses against hand-computed values and MONAI's."""

import math

import pytest
import torch
from monai.losses import DiceLoss

from renal import losses, recipe
from renal.losses import dice


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def volume(*values: float) -> torch.Tensor:
    """(1, 1, 1, 1, x) tensor."""
    return torch.tensor(values, dtype=torch.float32)[None, None, None, None]


def logit(*probabilities: float) -> torch.Tensor:
    return torch.logit(volume(*probabilities))


def test_squared_dice_by_hand():
    # P = 1/2, 1/4, 3/4 and G = 1, 0, 1: 2 * 5/4 over 1/4 + 1/16 + 9/16 + 2 = 23/8.
    loss = dice.loss(logit(0.5, 0.25, 0.75), volume(1, 0, 1), squared=True)
    assert loss.item() == pytest.approx(1 - 2.5 / (23 / 8), abs=1e-5)


def test_plain_dice_by_hand():
    # The same with 1/2 + 1/4 + 3/4 + 2 = 7/2 below.
    loss = dice.loss(logit(0.5, 0.25, 0.75), volume(1, 0, 1), squared=False)
    assert loss.item() == pytest.approx(1 - 2.5 / 3.5, abs=1e-5)


def test_batch_is_the_mean_of_its_cases():
    logits = torch.randn(3, 1, 2, 3, 4)
    target = (torch.rand(3, 1, 2, 3, 4) > 0.6).float()
    single = [dice.loss(logits[i : i + 1], target[i : i + 1], squared=True) for i in range(3)]
    together = dice.loss(logits, target, squared=True)
    assert together.item() == pytest.approx(sum(single).item() / 3)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_dice_equals_monais(squared, share):
    logits = 4 * torch.randn(2, 1, 6, 7, 8)
    target = (torch.rand(2, 1, 6, 7, 8) < share).float()
    expected = DiceLoss(sigmoid=True, squared_pred=squared, smooth_nr=1e-5, smooth_dr=1e-5)
    ours = dice.loss(logits, target, squared=squared)
    assert ours.item() == pytest.approx(expected(logits, target).item(), abs=1e-6)


@pytest.mark.parametrize("squared", [True, False])
def test_ends_of_the_scale(squared):
    target = volume(1, 0, 1, 0)
    sure = 200 * (target - 0.5)
    assert dice.loss(sure, target, squared=squared).item() == pytest.approx(0, abs=1e-5)
    assert dice.loss(-sure, target, squared=squared).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("squared", [True, False])
def test_empty_masks_are_defined(squared):
    nothing = torch.full((1, 1, 4, 4, 4), -200.0, requires_grad=True)  # sigmoid: exactly 0
    something = torch.zeros(1, 1, 4, 4, 4, requires_grad=True)
    empty, full = torch.zeros(1, 1, 4, 4, 4), torch.ones(1, 1, 4, 4, 4)
    for logits, target, expected in (
        (nothing, empty, 0.0),
        (nothing, full, 1.0),
        (something, empty, 1.0),
    ):
        loss = dice.loss(logits, target, squared=squared)
        assert loss.item() == pytest.approx(expected, abs=1e-5)
        loss.backward()
        assert torch.isfinite(logits.grad).all()


def test_half_precision_logits_are_summed_in_single_precision():
    # In bfloat16 a sum of 32768 voxels would stop growing at 256.
    logits = torch.zeros(1, 1, 32, 32, 32, dtype=torch.bfloat16)
    loss = dice.loss(logits, torch.ones(1, 1, 32, 32, 32), squared=False)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1 - 1 / 1.5, abs=1e-5)


def test_training_loss_is_the_mean_over_the_outputs():
    settings = recipe.DiceLoss(name="dice", squared=True)
    target = volume(1, 0, 1)
    coarse, fine = logit(0.5, 0.25, 0.75), logit(0.9, 0.1, 0.9)
    first = dice.loss(coarse, target, squared=True).item()
    second = dice.loss(fine, target, squared=True).item()
    both = losses.training_loss((coarse, fine), target, settings).item()
    assert both == pytest.approx((first + second) / 2)
    assert losses.training_loss((fine,), target, settings).item() == pytest.approx(second)
    assert not math.isclose(first, second)


def test_training_loss_follows_the_recipe():
    target, logits = volume(1, 0, 1), logit(0.5, 0.25, 0.75)
    plain = recipe.DiceLoss(name="dice", squared=False)
    assert losses.training_loss((logits,), target, plain).item() == pytest.approx(
        1 - 2.5 / 3.5, 1e-4
    )


@pytest.mark.parametrize("squared", [True, False])
def test_gradient_is_finite_and_points_the_right_way(squared):
    logits = torch.cat([torch.randn(1, 1, 4, 4, 4), torch.full((1, 1, 4, 4, 4), 100.0)])
    logits.requires_grad_()
    target = (torch.rand(2, 1, 4, 4, 4) > 0.5).float()
    dice.loss(logits, target, squared=squared).backward()
    assert torch.isfinite(logits.grad).all()
    # More probability inside lowers the loss.
    assert (logits.grad[0][target[0] > 0] < 0).all()
