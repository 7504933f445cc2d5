"""Tests of the schedules: pure functions of the epochs so far."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from renal.learn.schedules import constant, plateau, step


def history_of(*losses: float, column: str = "loss") -> list[dict[str, float]]:
    return [
        {"epoch": number, "learning_rate": 1e-3, "loss": 1 - number / 100, "dice": 0.5}
        | {column: loss}
        for number, loss in enumerate(losses, start=1)
    ]


def plateau_factors(losses: list[float], **keywords: float) -> list[float]:
    """The factor before each epoch and after the last."""
    history = history_of(*losses)
    return [plateau.factor(history[:count], **keywords) for count in range(len(history) + 1)]


def test_constant():
    assert constant.factor([]) == constant.factor(history_of(1, 2, 3)) == 1


def test_step_falls_every_so_many_epochs():
    expected = {0: 1, 9: 1, 10: 0.9, 19: 0.9, 20: 0.81, 499: 0.9**49}
    for epochs, factor in expected.items():
        history = history_of(*[0.5] * epochs)
        assert step.factor(history, factor=0.9, epochs=10) == pytest.approx(factor)


def test_plateau_by_hand():
    # Best in epochs 1, 2 and 6; an equal loss is no progress.
    losses = [5, 4, 4, 4.5, 6, 3, 3, 3, 3, 3]
    expected = [1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]
    assert plateau_factors(losses, factor=0.1, patience=3) == pytest.approx(expected)


def test_plateau_counts_anew_after_a_reduction():
    expected = [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert plateau_factors([1] * 7, factor=0.5, patience=2) == pytest.approx(expected)


def test_plateau_keeps_its_best_after_a_reduction():
    """Falling again is progress only below what was reached before."""
    losses = [1, 5, 5, 4, 3]  # reductions after epochs 3 and 5
    assert plateau_factors(losses, factor=0.5, patience=2)[-1] == 0.25


def test_plateau_watches_the_validation_loss_where_there_is_one():
    history = history_of(3, 4, 5, column="validation_loss")  # the training loss falls
    assert plateau.factor(history, factor=0.2, patience=2) == 0.2
    without = [{"loss": row["loss"]} for row in history]
    assert plateau.factor(without, factor=0.2, patience=2) == 1


@settings(deadline=None)
@given(
    losses=st.lists(st.integers(0, 5).map(float), max_size=30),
    patience=st.integers(1, 5),
)
def test_plateau_is_torchs_with_one_epoch_less(losses, patience):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience - 1, threshold=0, min_lr=0, eps=0
    )
    expected = [1.0]
    for loss in losses:
        scheduler.step(loss)
        expected.append(optimizer.param_groups[0]["lr"])
    assert plateau_factors(losses, factor=0.5, patience=patience) == expected
