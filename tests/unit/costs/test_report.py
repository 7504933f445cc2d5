"""What a run costs: counted from plans, shapes and earlier runs."""

import json

import numpy as np
import pytest

from renal.costs import disk, report, trainings
from renal.costs.cards import CARDS
from renal.costs.step import Operator, Step
from renal.plan import Plan, read_plan

DRY_RUN = """Job stats:
job                 count
----------------  -------
train                   3
predict                 1
all                     1
total                   5
"""

SUMMARY = """output_file\tdate\trule\tlog-file(s)\tstatus\tplan
{results}/resvnet/tumour/fold0/model.safetensors\t-\ttrain\t-\tmissing\tupdate pending
{results}/resvnet/tumour/fold0/history.csv\t-\ttrain\t-\tmissing\tupdate pending
{results}/resvnet/tumour/fold1/model.safetensors\t-\ttrain\t-\tmissing\tupdate pending
{results}/resvnet/whole/fold0/model.safetensors\tnow\ttrain\t-\tok\tno update
{results}/resvnet/whole/fold1/model.safetensors\t-\ttrain\t-\tmissing\tupdate pending
{results}/resvnet/whole/prediction/unlabelled-000\t-\tpredict\t-\tmissing\tupdate pending
"""


@pytest.fixture
def plan(shared_kits19, tmp_path) -> Plan:
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
    return read_plan(values)


def test_gpu_hours_are_those_of_earlier_runs(plan):
    results = plan.results
    for fold, (seconds, processes) in enumerate(((3600, 1), (3600, 2))):
        folder = results / f"resvnet/tumour/fold{fold}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"seconds": seconds, "processes": processes}))
    table = results / "benchmarks/predict/resvnet-whole-fold0.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("s\th:m:s\n360.0\t0:06:00\n")
    pending = report.pending_files(SUMMARY.format(results=results))
    assert sorted(report.gpu_work(pending, plan), key=lambda work: work.step) == [
        report.GpuWork("predict resvnet whole", 1, 0.1),
        report.GpuWork("train resvnet tumour", 2, 1.5),
        report.GpuWork("train resvnet whole", 1, None),
    ]


def test_disk_use_by_hand(plan):
    use = disk.disk_use(plan)
    # Four cases; 128x160x160 before and after normalisation; true regions with labels, found ones
    # without.
    stages = plan.recipes["resvnet"].stages
    whole, tumour = (np.prod(stages[name].geometry.size) for name in ("whole", "tumour"))
    assert use["resampled and normalised"] == 4 * 2 * whole * 3
    assert use["regions"] == 4 * stages["tumour"].regions.count * tumour * (3 + 2)
    # Two nets of 9,324,721 parameters in each of two stages, on two folds.
    assert use["models"] == pytest.approx(4 * 9_324_721 * 2 * 2 * 2, rel=0.01)


def test_the_report_names_jobs_disk_and_hours(plan, monkeypatch):
    step = Step((Operator(0, 10**9),), (), 10**9)
    monkeypatch.setattr(trainings, "_counted", lambda *_: step)
    pending = report.pending_files(SUMMARY.format(results=plan.results))
    text = report.report(report.jobs_by_rule(DRY_RUN), pending, plan, CARDS[:1])
    assert "train                                  3" in text
    assert "all                                    4" in text  # the target itself is no job
    assert "no earlier run" in text
    assert "free on that disk" in text
    assert "train resvnet tumour                     2    1.0" in text
