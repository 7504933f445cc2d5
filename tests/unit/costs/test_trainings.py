"""What trainings take: steps of an epoch by hand, and what earlier runs make of the account."""

import json
import math
from types import SimpleNamespace

import pytest
import yaml

from renal import recipe
from renal.costs import trainings
from renal.costs.cards import CARDS, FACTOR
from renal.costs.step import Operator, Step
from renal.plan import read_plan
from renal.sources import ROOT

HEADERS = [SimpleNamespace(shape=(60, 512, 512), spacing=(5.0, 0.8, 0.8))]
STEP = Step((Operator(3.35e9, 3.35e9),), (Operator(0, 6.7e9),), 0)  # 1 and 2 ms on an H100
H100 = CARDS[0]

COMPUTE = {"prepare_threads": 1, "train_threads": 1, "predict_threads": 1}
COMPUTE |= {"bfloat16_on_cpu": False, "seed": 0}


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(trainings, "_counted", lambda *_: STEP)


def work_of(method, stage, cases=168):
    return trainings.work_of(recipe.load_method(method, {}).stages[stage], HEADERS, cases)


def test_steps_of_an_epoch(counted):
    """Of KiTS19's 210 cases four folds have 168, of which an eighth is watched."""
    lattice = work_of("tunet", "segment")
    assert (lattice.steps, lattice.watched, lattice.epochs) == (3675, 21 * 25, 200)
    assert work_of("resvnet", "whole").steps == 84
    assert work_of("mrbnet", "zrange").steps == math.ceil(147 * 60 / 32)
    # 127 mm of kidney, and 20 mm of margin and 10 of jitter at both ends.
    assert work_of("mrbnet", "locate").steps == math.ceil(147 * 38 / 16)
    assert work_of("damnet", "fine").steps == 147 * 4 / 2


def test_fast_forms_take_a_fifth_of_the_steps(counted):
    """Of what the recipe allows at most; a last batch that is not full may come on top."""
    overrides = yaml.safe_load((ROOT / "config/fast.yaml").read_text())["overrides"]
    for method, changes in overrides.items():
        fast, recipes = recipe.load_method(method, changes), recipe.load_method(method, {})
        for stage in changes["stages"]:
            taken, allowed = (
                work.steps * work.epochs
                for work in (
                    trainings.work_of(of.stages[stage], HEADERS, 168) for of in (fast, recipes)
                )
            )
            assert taken <= 1.01 * allowed / 5, (method, stage)


def test_watched_batches_go_forwards_alone():
    work = trainings.Work(STEP, steps=10, watched=5, epochs=100, gpus=2, predicting=0)
    assert work.seconds(H100) == pytest.approx(100 * (10 * 3e-3 + 5 * 1e-3))
    assert work.seconds(H100, epochs=1) == pytest.approx(0.035)
    assert work.gpu_hours(H100, 2.0) == pytest.approx(2 * 2 * 3.5 / 3600)


def test_rows_that_differ_in_preparation_share_the_account(monkeypatch):
    counts = []
    monkeypatch.setattr(trainings, "count_step", lambda *_: counts.append(1) or STEP)
    trainings._counted.cache_clear()
    work_of("tunet", "segment")
    work_of("tunet_median", "segment")
    assert len(counts) == 1
    work_of("tunet_seb", "segment")
    assert len(counts) == 2
    trainings._counted.cache_clear()


def test_stages_of_another_scheme_of_labels_are_counted(shared_kits19, tmp_path):
    plan = read_plan(
        {
            "data": {"root": str(shared_kits19), "maximum_voxels": 10**7, "labels": "kits23"},
            "results": str(tmp_path / "results"),
            "methods": ["damnet_cyst"],
            "folds": {"count": 2, "seed": 0},
            "batch_size": 5,
            "compute": COMPUTE,
        }
    )
    (work,) = trainings.count_trainings(plan, [("damnet_cyst", "fine")]).values()
    assert work.step.peak > 1e9


def test_earlier_trainings_tell_the_factor(shared_kits19, tmp_path, counted):
    """Of the same recipe, on a card that is known."""
    plan = read_plan(
        {
            "data": {"root": str(shared_kits19), "maximum_voxels": 10**7},
            "results": str(tmp_path / "results"),
            "methods": ["resvnet"],
            "folds": {"count": 2, "seed": 0},
            "batch_size": 5,
            "compute": COMPUTE,
        }
    )
    works = trainings.count_trainings(plan, [("resvnet", "whole"), ("resvnet", "tumour")])
    least = works["resvnet", "whole"].seconds(H100, 7)
    settings = plan.training("resvnet", "whole").model_dump(mode="json")
    for fold, (device, seconds, changes) in enumerate(
        [
            ("NVIDIA H100 80GB HBM3", 2.5 * least, {}),
            ("x86_64", 100 * least, {}),
            ("NVIDIA H100 80GB HBM3", 9 * least, {"batch_size": 1}),
        ]
    ):
        folder = plan.results / f"resvnet/whole/fold{fold}"
        folder.mkdir(parents=True)
        run = {"device": device, "seconds": seconds, "epochs": 7, "settings": settings | changes}
        (folder / "run.json").write_text(json.dumps(run))
    measured = trainings.factors(plan, works)
    assert measured == {"H100": pytest.approx(2.5)}
    assert trainings.factor_on(CARDS[1], measured) == FACTOR
