"""Lines on GPU hours, and on what a cluster's time limit asks for."""

import pytest

from renal.costs import gpu_tables, trainings
from renal.costs.cards import CARDS
from renal.costs.step import Operator, Step
from renal.plan import read_plan

HOUR = Step((), (Operator(0, 3.35e12 * 3600 / 3.6),), 30 * 10**9)  # of an H100, as expected


@pytest.fixture
def plan(shared_kits19, tmp_path):
    values = {
        "data": {"root": str(shared_kits19), "maximum_voxels": 10**9},
        "results": str(tmp_path / "results"),
        "methods": ["damnet", "damnet_2d"],
        "folds": {"count": 2, "seed": 0},
        "batch_size": 5,
        "overrides": {"damnet": {"stages": {"fine": {"training": {"epochs": 1}}}}},
        "compute": {"prepare_threads": 1, "train_threads": 1, "predict_threads": 1}
        | {"bfloat16_on_cpu": False, "seed": 0},
    }
    return read_plan(values)


@pytest.fixture
def lines(plan, monkeypatch):
    monkeypatch.setattr(trainings, "_counted", lambda *_: HOUR)
    places = [("damnet", "coarse"), ("damnet", "fine"), ("damnet_2d", "fine")]
    pending = {plan.model(*place, "fold0") for place in places}
    return gpu_tables.gpu_tables(pending, plan, CARDS)


def values_of(lines, title):
    (line,) = (line.split() for line in lines if line.startswith(f"  {title} "))
    return line[len(title.split()) :]


def test_hours_of_stages_and_rows(lines):
    jobs, peak, h100, _, _, rtx, _ = values_of(lines, "train damnet fine")
    steps = 1  # four patches in batches of two, of the half case that is learned from
    assert (jobs, peak, float(h100)) == ("1", "30.0", steps)
    assert rtx.endswith("*")  # 24 GB
    coarse, fine = (
        float(values_of(lines, f"train {n}")[2]) for n in ("damnet coarse", "damnet fine")
    )
    alone = float(values_of(lines, "train damnet_2d fine")[2])
    assert float(values_of(lines, "damnet_2d")[0]) == pytest.approx(coarse + alone)
    assert float(values_of(lines, "all")[1]) == pytest.approx(coarse + fine + alone)


def test_what_a_time_limit_asks_for(lines):
    """The coarse stage's 100 epochs of a step take 100 hours, at twice that 200."""
    (h100,) = (line for line in lines if line.startswith("  H100:"))
    assert "200 h: jobs of 1440 minutes and retries: 3 are too few: 8 are needed" in h100
    assert h100.endswith(f"runtime: {200 * 60 // 4 + 3}")


def test_a_training_goes_on_over_several_jobs():
    assert [gpu_tables.jobs_for(minutes, 63) for minutes in (1, 60, 61, 121)] == [1, 1, 2, 3]


def test_nothing_to_train_is_nothing_to_say(plan):
    assert gpu_tables.gpu_tables(set(), plan, CARDS) == []
