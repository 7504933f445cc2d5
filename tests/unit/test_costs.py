"""What a run costs: counted from plans, shapes and earlier runs."""

import json

import numpy as np
import pytest

from renal import costs, recipe

PLAN = """Job stats:
job                 count
----------------  -------
train                   3
predict                 1
all                     1
total                   5

Job 4: Training resvnet, stage tumour, without fold 0
Job 5: Training resvnet, stage tumour, without fold 1
Job 6: Training resvnet, stage whole, without fold 1
Job 7: Predicting unlabelled-000 with resvnet, stage whole
"""


@pytest.fixture
def configuration(shared_kits19, tmp_path):
    values = {
        "data": {"root": str(shared_kits19), "maximum_voxels": 10**7},
        "results": str(tmp_path / "results"),
        "methods": ["resvnet"],
        "folds": {"count": 2, "seed": 0},
        "batch_size": 5,
        "compute": {
            "prepare_threads": 1,
            "train_threads": 1,
            "predict_threads": 1,
            "bfloat16_on_cpu": False,
            "seed": 0,
        },
    }
    return recipe.check_configuration(values)


def test_gpu_hours_are_those_of_earlier_runs(tmp_path):
    for fold, (seconds, processes) in enumerate(((3600, 1), (3600, 2))):
        folder = tmp_path / f"resvnet/tumour/fold{fold}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"seconds": seconds, "processes": processes}))
    table = tmp_path / "benchmarks/predict/resvnet-whole-fold0.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("s\th:m:s\n360.0\t0:06:00\n")
    assert costs.gpu_work(PLAN, tmp_path) == [
        costs.GpuWork("train resvnet tumour", 2, 1.5),
        costs.GpuWork("train resvnet whole", 1, None),
        costs.GpuWork("predict resvnet whole", 1, 0.1),
    ]


def test_disk_use_by_hand(configuration):
    use = costs.disk_use(configuration)
    # Four cases; 128x160x160 before and after normalisation; true regions with labels, found ones
    # without.
    stages = recipe.load_methods(configuration)["resvnet"].stages
    whole, tumour = (np.prod(stages[name].geometry.size) for name in ("whole", "tumour"))
    assert use["resampled and normalised"] == 4 * 2 * whole * 3
    assert use["regions"] == 4 * stages["tumour"].regions.count * tumour * (3 + 2)
    # Two nets of 9,324,721 parameters in each of two stages, on two folds.
    assert use["models"] == pytest.approx(4 * 9_324_721 * 2 * 2 * 2, rel=0.01)


def test_the_report_names_jobs_disk_and_hours(configuration):
    text = costs.report(PLAN, configuration)
    assert "train                                  3" in text
    assert "all                                    4" in text  # the target itself is no job
    assert "no earlier run" in text
    assert "free on that disk" in text
