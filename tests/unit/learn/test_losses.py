"""Tests of the losses against hand-computed values and MONAI's."""

import math
import sys
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from renal.labels import KITS19
from renal.learn.losses import (
    Truth,
    cross_entropy,
    dice,
    dice_cross_entropy,
    focal_dice,
    training_loss,
    tversky,
)
from renal.learn.losses.settings import DecayingSupervision, LossSettings
from renal.learn.losses.settings import DiceLoss as DiceSettings
from renal.learn.settings import Training
from tests.unit.learn import helpers

EVERY = {
    "dice": partial(dice.loss, squared=False),
    "dice, squared": partial(dice.loss, squared=True, smooth=(0, 1e-3), channels="sum"),
    "tversky": partial(tversky.loss, false_negatives=0.7, false_positives=0.3),
    "dice of the batch": partial(dice.loss, squared=False, over="batch"),
    "tversky of the batch": partial(
        tversky.loss, false_negatives=0.7, false_positives=0.3, over="batch"
    ),
    "cross_entropy": cross_entropy.loss,
    "sigmoid": partial(dice_cross_entropy.loss, squared=False),
    "softmax": partial(dice_cross_entropy.loss, squared=False, activation="softmax"),
    "focal_dice": partial(focal_dice.loss, gamma=2, tumour_weight=2, focal_share=0.5),
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def volume(*values: float) -> torch.Tensor:
    """(1, 1, 1, 1, x) tensor."""
    return torch.tensor(values, dtype=torch.float32)[None, None, None, None]


def truth(target: torch.Tensor, epoch: int = 0) -> Truth:
    """A truth of which the loss is to use the target alone."""
    unknown = torch.full_like(target[:, :1], torch.nan)
    return Truth(target, unknown, unknown, epoch)


def logit(*probabilities: float) -> torch.Tensor:
    return torch.logit(volume(*probabilities))


def example(channels: int = 1, share: float = 0.4) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a target of channels that may overlap."""
    shape = (2, channels, 3, 4, 5)
    return 2 * torch.randn(shape), (torch.rand(shape) < share).float()


def classes(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and a one-hot target of three classes."""
    label = torch.randint(3, (2, *shape))
    target = torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float()
    return 2 * torch.randn(target.shape), target


# -- any loss -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 1)])
@pytest.mark.parametrize("size", [1.0, 50.0, 1000.0])
def test_losses_and_gradients_are_finite(loss, shape, size):
    logits, target = classes(*shape)
    logits = (size * logits.sign()).requires_grad_()
    value = loss(logits, truth(target))
    assert value.shape == ()
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", EVERY.values(), ids=EVERY)
def test_better_predictions_have_a_lower_loss(loss):
    _, target = classes(3, 4, 5)
    values = [
        loss(confidence * (target - 0.5), truth(target)).item() for confidence in (-50, -1, 1, 50)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9 and values[-1] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("loss", EVERY.values(), ids=EVERY)
def test_bfloat16_logits_are_computed_in_single_precision(loss):
    logits, target = classes(3, 4, 5)
    logits = logits.bfloat16()
    value = loss(logits, truth(target))
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(logits.float(), truth(target)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), loss=st.sampled_from(list(EVERY.values())))
def test_gradients_are_those_of_the_value(seed, loss):
    torch.manual_seed(seed)
    logits, target = classes(2, 2, 2)
    direction = torch.randn_like(logits)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, truth(target)), logits)
    with torch.no_grad():
        ahead, behind = (loss(logits + step * direction, truth(target)) for step in (1e-2, -1e-2))
    slope = (ahead - behind).item() / 2e-2
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=0.02, abs=2e-4)


# -- dice ---------------------------------------------------------------------------------------


def test_squared_dice_by_hand():
    # P = 1/2, 1/4, 3/4 and G = 1, 0, 1: 2 * 5/4 over 1/4 + 1/16 + 9/16 + 2 = 23/8.
    loss = dice.loss(logit(0.5, 0.25, 0.75), truth(volume(1, 0, 1)), squared=True)
    assert loss.item() == pytest.approx(1 - 2.5 / (23 / 8), abs=1e-5)


def test_plain_dice_by_hand():
    # The same with 1/2 + 1/4 + 3/4 + 2 = 7/2 below.
    loss = dice.loss(logit(0.5, 0.25, 0.75), truth(volume(1, 0, 1)), squared=False)
    assert loss.item() == pytest.approx(1 - 2.5 / 3.5, abs=1e-5)


def test_smooth_by_hand():
    # As plain dice with 1/2 more above and 1 more below: 2 * 5/4 + 1/2 over 7/2 + 1.
    loss = dice.loss(logit(0.5, 0.25, 0.75), truth(volume(1, 0, 1)), squared=False, smooth=(0.5, 1))
    assert loss.item() == pytest.approx(1 - 3 / 4.5)


def test_channels_are_averaged_or_summed():
    logits, target = example(channels=3)
    single = [
        dice.loss(logits[:, [c]], truth(target[:, [c]]), squared=True).item() for c in range(3)
    ]
    mean = dice.loss(logits, truth(target), squared=True)
    total = dice.loss(logits, truth(target), squared=True, channels="sum")
    assert mean.item() == pytest.approx(sum(single) / 3)
    assert total.item() == pytest.approx(sum(single))
    assert len(set(single)) == 3


def test_batch_is_the_mean_of_its_cases():
    logits = torch.randn(3, 1, 2, 3, 4)
    target = (torch.rand(3, 1, 2, 3, 4) > 0.6).float()
    single = [
        dice.loss(logits[i : i + 1], truth(target[i : i + 1]), squared=True) for i in range(3)
    ]
    together = dice.loss(logits, truth(target), squared=True)
    assert together.item() == pytest.approx(sum(single).item() / 3)


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_dice_equals_monais(monai, squared, share):
    logits = 4 * torch.randn(2, 1, 6, 7, 8)
    target = (torch.rand(2, 1, 6, 7, 8) < share).float()
    smooth = {"smooth_nr": 1e-5, "smooth_dr": 1e-5}
    expected = monai.losses.DiceLoss(sigmoid=True, squared_pred=squared, **smooth)
    ours = dice.loss(logits, truth(target), squared=squared)
    assert ours.item() == pytest.approx(expected(logits, target).item(), abs=1e-6)


@pytest.mark.parametrize("squared", [True, False])
def test_ends_of_the_scale(squared):
    target = volume(1, 0, 1, 0)
    sure = 200 * (target - 0.5)
    assert dice.loss(sure, truth(target), squared=squared).item() == pytest.approx(0, abs=1e-5)
    assert dice.loss(-sure, truth(target), squared=squared).item() == pytest.approx(1, abs=1e-5)


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
        loss = dice.loss(logits, truth(target), squared=squared)
        assert loss.item() == pytest.approx(expected, abs=1e-5)
        loss.backward()
        assert torch.isfinite(logits.grad).all()


def test_half_precision_logits_are_summed_in_single_precision():
    # In bfloat16 a sum of 32768 voxels would stop growing at 256.
    logits = torch.zeros(1, 1, 32, 32, 32, dtype=torch.bfloat16)
    loss = dice.loss(logits, truth(torch.ones(1, 1, 32, 32, 32)), squared=False)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1 - 1 / 1.5, abs=1e-5)


def training(supervision=None, squared=True):
    """The parts of a recipe's training section that the loss depends on."""
    loss = DiceSettings(name="dice", squared=squared)
    return SimpleNamespace(loss=loss, supervision=supervision)


def test_training_loss_is_the_mean_over_the_outputs():
    target = volume(1, 0, 1)
    coarse, fine = logit(0.5, 0.25, 0.75), logit(0.9, 0.1, 0.9)
    first = dice.loss(coarse, truth(target), squared=True).item()
    second = dice.loss(fine, truth(target), squared=True).item()
    both = training_loss((coarse, fine), truth(target), training()).item()
    assert both == pytest.approx((first + second) / 2)
    assert training_loss((fine,), truth(target), training()).item() == pytest.approx(second)
    assert not math.isclose(first, second)


@pytest.mark.parametrize(("epoch", "weight"), [(0, 0.33), (14, 0.33), (15, 0.264), (45, 0.168960)])
def test_supervision_of_the_earlier_outputs_decays(epoch, weight):
    target = volume(1, 0, 1)
    outputs = logit(0.5, 0.25, 0.75), logit(0.6, 0.3, 0.6), logit(0.9, 0.1, 0.9)
    first, second, last = (
        dice.loss(output, truth(target), squared=True).item() for output in outputs
    )
    supervision = DecayingSupervision(weight=0.33, factor=0.8, epochs=15)
    loss = training_loss(outputs, truth(target, epoch), training(supervision))
    assert loss.item() == pytest.approx(weight * (first + second) + last)


def test_training_loss_follows_the_recipe():
    target, logits = volume(1, 0, 1), logit(0.5, 0.25, 0.75)
    loss = training_loss((logits,), truth(target), training(squared=False))
    assert loss.item() == pytest.approx(1 - 2.5 / 3.5, 1e-4)


@pytest.mark.parametrize("squared", [True, False])
def test_gradient_is_finite_and_points_the_right_way(squared):
    logits = torch.cat([torch.randn(1, 1, 4, 4, 4), torch.full((1, 1, 4, 4, 4), 100.0)])
    logits.requires_grad_()
    target = (torch.rand(2, 1, 4, 4, 4) > 0.5).float()
    dice.loss(logits, truth(target), squared=squared).backward()
    assert torch.isfinite(logits.grad).all()
    # More probability inside lowers the loss.
    assert (logits.grad[0][target[0] > 0] < 0).all()


# -- tversky ------------------------------------------------------------------------------------


def test_tversky_by_hand():
    # TP = 5/4, FN = 1/2 + 1/4, FP = 1/4.
    loss = tversky.loss(
        logit(0.5, 0.25, 0.75), truth(volume(1, 0, 1)), false_negatives=0.7, false_positives=0.3
    )
    assert loss.item() == pytest.approx(1 - 1.25 / (1.25 + 0.7 * 0.75 + 0.3 * 0.25), abs=1e-5)


def test_tversky_of_equal_weights_is_dice():
    logits, target = example(channels=2)
    even = tversky.loss(logits, truth(target), false_negatives=0.5, false_positives=0.5)
    expected = dice.loss(logits, truth(target), squared=False)
    assert even.item() == pytest.approx(expected.item(), abs=1e-5)


def test_tversky_favours_recall():
    target = volume(1, 1, 0, 0)
    missed, excess = volume(50, -50, -50, -50), volume(50, 50, 50, -50)
    weights = {"false_negatives": 0.7, "false_positives": 0.3}
    losses = [tversky.loss(x, truth(target), **weights).item() for x in (missed, excess)]
    assert losses == pytest.approx([1 - 1 / 1.7, 1 - 2 / 2.3], abs=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_tversky_equals_monais(monai, share):
    logits, target = example(channels=2, share=share)
    smooth = {"smooth_nr": 1e-5, "smooth_dr": 1e-5}
    expected = monai.losses.TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, **smooth)
    ours = tversky.loss(logits, truth(target), false_negatives=0.7, false_positives=0.3)
    assert ours.item() == pytest.approx(expected(logits, target).item(), abs=1e-6)


# -- cross-entropy ------------------------------------------------------------------------------


def test_cross_entropy_by_hand():
    loss = cross_entropy.loss(logit(0.5, 0.25, 0.75), truth(volume(1, 0, 1)))
    assert loss.item() == pytest.approx(-(math.log(0.5) + 2 * math.log(0.75)) / 3)


def test_cross_entropy_of_one_value_a_slice():
    logits = torch.tensor([50.0, -50.0, 2.0, -50.0]).view(4, 1, 1, 1, 1)
    target = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(4, 1, 1, 1, 1)
    expected = (math.log(1 + math.exp(2)) + 50) / 4
    assert cross_entropy.loss(logits, truth(target)).item() == pytest.approx(expected)


# -- dice + cross-entropy -----------------------------------------------------------------------


def test_dice_and_binary_cross_entropy_by_hand():
    loss = dice_cross_entropy.loss(logit(0.5, 0.25, 0.75), truth(volume(1, 0, 1)), squared=True)
    overlap = 1 - 2.5 / (23 / 8)
    entropy = -(math.log(0.5) + 2 * math.log(0.75)) / 3
    assert loss.item() == pytest.approx(overlap + entropy, abs=1e-5)


def test_dice_of_classes_leaves_the_background_out():
    # Two voxels: kidney, found with 1/2, and background, found with 3/4; the rest is tumour's
    # and kidney's in equal parts.
    probabilities = torch.tensor([[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]])
    logits = probabilities.log().T.reshape(1, 3, 1, 1, 2)
    target = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]).reshape(1, 3, 1, 1, 2)
    kidney, tumour = 1 - 2 * 0.5 / (0.625 + 1), 1
    entropy = -(math.log(0.5) + math.log(0.75)) / 2
    loss = dice_cross_entropy.loss(logits, truth(target), squared=False, activation="softmax")
    assert loss.item() == pytest.approx((kidney + tumour) / 2 + entropy, abs=1e-4)


@pytest.mark.parametrize("squared", [True, False])
def test_dice_cross_entropy_equals_monais(monai, squared):
    theirs = monai.losses.DiceCELoss
    smooth = {"squared_pred": squared, "smooth_nr": 1e-5, "smooth_dr": 1e-5}
    for activation, (logits, target), expected in (
        ("sigmoid", example(), theirs(sigmoid=True, **smooth)),
        ("softmax", classes(4, 5, 6), theirs(softmax=True, include_background=False, **smooth)),
    ):
        ours = dice_cross_entropy.loss(
            logits, truth(target), squared=squared, activation=activation
        )
        assert ours.item() == pytest.approx(expected(logits, target).item(), abs=1e-5)


# -- focal + weighted dice ----------------------------------------------------------------------


def test_focal_by_hand():
    loss = focal_dice.loss(
        logit(0.5, 0.25, 0.75), truth(volume(1, 0, 1)), gamma=2, tumour_weight=3, focal_share=1
    )
    tumour = 3 * (0.5**2 * math.log(0.5) + 0.25**2 * math.log(0.75))
    background = 0.25**2 * math.log(0.75)
    assert loss.item() == pytest.approx(-(tumour + background) / 3)


def test_weighted_dice_by_hand():
    loss = focal_dice.loss(
        logit(0.5, 0.25, 0.75), truth(volume(1, 0, 1)), gamma=2, tumour_weight=3, focal_share=0
    )
    tumour = 1 - 2.5 / 3.5
    background = 1 - 2 * 0.75 / (0.5 + 0.75 + 0.25 + 1)
    assert loss.item() == pytest.approx((3 * tumour + background) / 4, abs=1e-5)


def test_focal_share_divides_the_two():
    logits, target = example()
    both = [
        focal_dice.loss(logits, truth(target), gamma=2, tumour_weight=2, focal_share=share).item()
        for share in (0, 0.25, 1)
    ]
    assert both[1] == pytest.approx(0.75 * both[0] + 0.25 * both[2])


def test_a_slice_without_tumour_still_counts_false_positives():
    target = torch.zeros(1, 1, 1, 4, 4)
    shy, bold = torch.full_like(target, -3.0), torch.full_like(target, -1.0)
    for share in (0, 1):
        keywords = {"gamma": 2, "tumour_weight": 2, "focal_share": share}
        better, worse = (focal_dice.loss(x, truth(target), **keywords) for x in (shy, bold))
        assert better < worse - 0.01


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weight", [1.0, 2.0, 5.0])
def test_focal_dice_equals_monais(monai, gamma, weight):
    logits, target = example()
    # MONAI's alpha and 1 - alpha are our weights, w and 1, over their sum.
    focal = monai.losses.FocalLoss(gamma=gamma, alpha=weight / (weight + 1))
    focal = focal(logits, target) * (weight + 1)
    overlap = monai.losses.DiceLoss(sigmoid=True, smooth_nr=1e-5, smooth_dr=1e-5)
    tumour, background = overlap(logits, target), overlap(-logits, 1 - target)
    expected = 0.3 * focal + 0.7 * (weight * tumour + background) / (weight + 1)
    ours = focal_dice.loss(
        logits, truth(target), gamma=gamma, tumour_weight=weight, focal_share=0.3
    )
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)


# -- a loss that needs more than the target -----------------------------------------------------


class BoundaryOfTest(LossSettings):
    """Soft Dice plus the boundary loss (Kervadec 2019), which nothing in the package knows of."""

    name: Literal["boundary_of_test"]
    weight: float


class TrainingOfTest(Training):
    loss: BoundaryOfTest


def boundary_loss(logits: torch.Tensor, truth: Truth) -> torch.Tensor:
    """Mean of probability times distance to the true surface, negative within the kidney."""
    kidney = KITS19.region("kidney").mask(truth.label)
    distances = [
        distance_transform_edt(~one) - distance_transform_edt(one) for one in kidney[:, 0].numpy()
    ]
    distance = torch.from_numpy(np.stack(distances)).to(logits)[:, None]
    return (logits.sigmoid() * distance).mean()


@pytest.fixture
def seen(monkeypatch) -> list[Truth]:
    """What the loss of this test is given, once there is a module of it."""
    given = []

    def loss(logits, truth, *, weight):
        given.append(truth)
        return dice.loss(logits, truth, squared=True) + weight * boundary_loss(logits, truth)

    module = ModuleType("renal.learn.losses.boundary_of_test")
    module.loss = loss
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return given


def test_the_boundary_loss_of_these_tests_by_hand():
    # Distances 1, -1, -1, 1 and 2.
    label = volume(0, 1, 2, 0, 0)
    known = Truth(label, label, label, 0)
    found = boundary_loss(logit(0.5, 0.25, 0.75, 0.5, 0.1), known)
    assert found.item() == pytest.approx((0.5 - 0.25 - 0.75 + 0.5 + 0.2) / 5)


@pytest.mark.usefixtures("one_cpu_thread")
def test_a_loss_of_distances_to_the_label_trains_in_the_loop_as_it_is(seen, prepared, tmp_path):
    values = helpers.training_settings(
        optimizer={"learning_rate": 0.1},
        schedule={"factor": 1.0},
        network={**helpers.UNET, "dimensions": 3},
        validation={"share": 0.34, "keep": "last"},
        epochs=20,
    ).model_dump()
    loss = {"name": "boundary_of_test", "weight": 0.5}
    settings = TrainingOfTest.model_validate({**values, "loss": loss})
    helpers.train_with(settings, prepared, tmp_path)
    # A step and a batch that is watched in each epoch.
    assert [truth.epoch for truth in seen] == [epoch for epoch in range(20) for _ in range(2)]
    for truth in seen:
        assert truth.label.shape == truth.target.shape == truth.image.shape
        assert truth.label.shape[1:] == (1, 16, 16, 16)
        # What was learned from is turned and mirrored; label, target and image are so together.
        assert torch.equal(truth.target, (truth.label > 0).float())
        assert truth.image[truth.label > 0].mean() > 0.7
        assert truth.image[truth.label == 0].mean() < -0.9
    history = helpers.read_history(tmp_path)
    # Soft Dice alone is never below 0.
    for key in ("loss", "validation_loss"):
        assert history[-1][key] < 0 < history[0][key]
    assert history[-1]["dice"] > 0.8 and history[-1]["validation_dice"] > 0.8
    assert helpers.read_run(tmp_path)["settings"]["loss"] == loss


@pytest.mark.parametrize("name", ["dice", "tversky"])
def test_over_the_batch_an_example_without_target_has_a_gradient(name):
    """By itself it has next to none: whatever is predicted there, the loss is 1."""
    target = torch.zeros(2, 2, 1, 8, 8)
    target[0, :, :, 2:5, 2:5] = 1
    gradients = {}
    for key in (name, f"{name} of the batch"):
        logits = torch.zeros(target.shape, requires_grad=True)
        EVERY[key](logits, truth(target)).backward()
        gradients[key] = logits.grad[1].abs().max()
    alone, together = gradients.values()
    assert alone < 1e-6 < 1e-4 < together


def test_the_dice_of_a_batch_is_monais(monai):
    logits, target = example(channels=2)
    expected = monai.losses.DiceLoss(sigmoid=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    found = dice.loss(logits, truth(target), squared=False, over="batch")
    assert found.item() == pytest.approx(expected(logits, target).item(), abs=1e-6)
