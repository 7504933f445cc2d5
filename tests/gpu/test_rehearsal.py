"""Every network trains, goes on and predicts on CUDA tensors that have no memory (fake_cuda.py).

The stages run in processes of their own, for the fake device must be there before torch.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gpu
import pytest
from training_step import scheme_with

from renal import recipe
from renal.costs.step import count_prediction, count_step
from tests.unit.recipe.helpers import demonstrated

ROOT = Path(__file__).resolve().parents[2]
RESVNET, MSVNET = "demo.yaml", "demos/msvnet.yaml"
TUNET, LOCALIZED = "demos/tunet.yaml", "demos/localized.yaml"
# A sliding window, and slices.
FULL = ("tunet", "unet")
# Of fewer paths, whose peak is counted an eighth too high.
ROUGHLY = ("damnet_2d.fine", "damnet_adapted.fine")
# One stage of each network.
STAGES = {
    "res_vnet_cascade": ("resvnet", "tumour", RESVNET),
    "tunet": ("tunet_seb", "segment", TUNET),
    "unet": ("tunet_unet2d", "segment", TUNET),
    "resnet34_slices": ("mrbnet", "zrange", LOCALIZED),
    "mrb_unet": ("mrbnet", "segment", LOCALIZED),
    "dam_net": ("damnet", "fine", LOCALIZED),
    "res_unet": ("msvnet", "kidney", MSVNET),
    "vnet_2d5": ("msvnet", "tumour", MSVNET),
    "deeplab_v3_plus": ("msvnet_deeplab", "tumour", MSVNET),
}


def run(request, jobs):
    """What rehearsals in a process of their own have seen."""
    if shutil.which("g++") is None:
        pytest.skip("no g++, which compiles the fake device")
    folder = request.config.cache.mkdir("fake_cuda")  # kept: compiling takes long
    command = [sys.executable, "-m", "tests.gpu.rehearsal", str(folder), json.dumps(jobs)]
    packages = os.pathsep.join(map(str, (ROOT, ROOT / "workflow", ROOT / "benchmarks")))
    environment = os.environ | {"PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def job(network, **keywords):
    """A rehearsal of a network's stage at small sizes, as torchrun's second process."""
    return dict(
        zip(("method", "stage", "demo"), STAGES[network], strict=True), current=1, **keywords
    )


@pytest.fixture(scope="session")
def rehearsed(request):
    """One stage of every network, and one on a card without bfloat16, a full one and two cards."""
    jobs = {network: job(network) for network in STAGES}
    jobs["volta"] = job("unet", capability=[7, 0])
    jobs["full"] = job("unet", whole=False, filled=True, steps=2)
    jobs["two"] = job("unet", together=True, changes={"batch_size": 3})
    return dict(zip(jobs, run(request, list(jobs.values())), strict=True))


@pytest.mark.parametrize("network", [*STAGES, "volta"])
def test_the_whole_path_runs_on_a_gpu(rehearsed, network):
    """No tensor on the wrong device, no wait of the host in a step, loss and metrics in float32."""
    seen = rehearsed[network]
    assert "error" not in seen, seen
    assert seen["stopped"]
    assert (seen["run"]["device"], seen["run"]["epochs"]) == ("fake", 2)
    assert seen["waits"] == {}
    assert seen["half"] == []


@pytest.fixture(scope="session")
def predicted(request):
    """As `rehearsed`, of prediction."""
    jobs = {network: job(network, predicts=True) for network in STAGES}
    jobs["volta"] = job("unet", predicts=True, capability=[7, 0])
    jobs |= {f"full {network}": job(network, predicts=True, full=True) for network in FULL}
    return dict(zip(jobs, run(request, list(jobs.values())), strict=True))


@pytest.mark.parametrize("network", [*STAGES, "volta"])
def test_prediction_waits_for_a_gpu_once_a_region(predicted, network):
    """No tensor on the wrong device, several windows or slices at once, nothing left behind."""
    seen = predicted[network]
    assert "error" not in seen, seen
    (place,) = seen["waits"]
    assert place.startswith("copy to the host learn/mean_predictor.py")
    assert seen["waits"][place] == seen["regions"]
    method, stage, demo = STAGES["unet" if network == "volta" else network]
    inference = demonstrated(demo)[method].stages[stage].inference
    if inference.stacks:
        assert seen["batches"] == [1]
    else:
        assert inference.at_once < max(seen["batches"]) <= 4 * inference.at_once
        assert len(seen["batches"]) < sum(seen["batches"]) / inference.at_once
    assert seen["told"] == []
    assert seen["left"] == 0


@pytest.mark.parametrize("network", FULL)
def test_a_full_card_predicts_with_fewer_at_once(predicted, network):
    """Still put together there: the host waits once a region, as on a card that has room."""
    seen, roomy = predicted[f"full {network}"], predicted[network]
    method, stage, demo = STAGES[network]
    batch = demonstrated(demo)[method].stages[stage].inference.at_once
    *tried, first = seen["batches"][:3]
    assert max(tried) > first == batch
    assert len(seen["told"]) == 2
    assert seen["told"][1].endswith(f" {batch} images at once, put together on the GPU")
    assert seen["waits"] == roomy["waits"]
    assert seen["left"] == 0


def test_a_card_without_bfloat16_scales_gradients_in_float16(rehearsed):
    assert rehearsed["volta"]["precision"] == "torch.float16"
    assert rehearsed["volta"]["scale"] is not None
    assert rehearsed["unet"]["precision"] == "torch.bfloat16"
    assert rehearsed["unet"]["scale"] is None


def test_out_of_memory_is_no_end(rehearsed):
    """Resident cases go back to files, the step is repeated once, and training ends as planned."""
    assert rehearsed["full"]["repeated"] == 1
    assert rehearsed["full"]["run"]["epochs"] == 2


def test_two_gpus_share_batches(rehearsed):
    """The first process stops, and the second goes on from its state, with another share."""
    seen = rehearsed["two"]
    assert "error" not in seen, seen
    assert seen["stopped"] and seen["buckets"] > 0
    assert (seen["waits"], seen["half"]) == ({}, [])


@pytest.mark.slow
@pytest.mark.parametrize("name", gpu.stages(small=False))
def test_a_prediction_at_its_paper_s_size_is_as_costs_count_it(request, name):
    """Memory, of a batch as large as it begins with, and no wait but for the maps of a region."""
    method, stage = name.split(".")
    settings = recipe.load_method(method, {}).stages[stage]
    (seen,) = run(request, [{"predicts": True, "method": method, "stage": stage}])
    assert sum(seen["waits"].values()) == seen["regions"]
    part, (deep, *plane) = recipe.prediction(settings), settings.seen[1]
    deep = part.channels_in if part.network.flat else deep
    counted = count_prediction(part, (deep, *plane), scheme_with(part.target))
    assert counted + seen["beside"] == pytest.approx(seen["peak"], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", gpu.stages(small=False))
def test_a_step_at_its_paper_s_size_is_as_costs_count_it(request, name):
    """Memory and traffic, without resident cases, which come only where there is room beside."""
    method, stage = name.split(".")
    settings = recipe.load_method(method, {}).stages[stage]
    size = gpu.size_of(name, settings, small=False)
    (seen,) = run(request, [{"method": method, "stage": stage, "size": size, "whole": False}])
    labels = scheme_with(settings.training.target)
    step = count_step(settings.training, settings.seen[0], labels)
    assert seen["waits"] == {}
    within = 0.15 if name in ROUGHLY else 0.1
    assert step.peak == pytest.approx(seen["peak"], rel=within)
    moved = sum(operator.bytes for operator in step.forward + step.backward)
    assert moved == pytest.approx(seen["moved"], rel=0.1)
