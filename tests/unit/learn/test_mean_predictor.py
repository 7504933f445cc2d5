"""Tests of networks that predict together: on a CPU, and how they get by with a GPU's memory."""

import logging

import gpu
import numpy as np
import pytest
import torch
from training_step import scheme_with

from renal import recipe
from renal.errors import InputError
from renal.learn.mean_predictor import MeanPredictor, ways_on
from renal.learn.networks import build_network
from renal.learn.settings import Prediction
from renal.learn.targets import probabilities

CPU = torch.device("cpu")
SLIDING = {"name": "sliding_window", "size": (8, 8, 8), "overlap": (4, 4, 4)}
SLIDING["weighting"] = "gaussian"
WAYS = {
    "sliding_window": SLIDING,
    "windows": {"name": "windows", "length": 8, "step": 4, "keep": (2, 6)},
    "slices": {"name": "slices", "batch": 2},
}
# One stage of each network that sees windows or slices, with every kind of normalisation.
STAGES = [
    *("damnet.fine", "damnet_3d.fine", "mrbnet.zrange", "mrbnet.locate", "mrbnet.segment"),
    *("msvnet.kidney", "msvnet.tumour", "msvnet_se.tumour", "msvnet_deeplab.tumour"),
    *("msvnet_vnet3d.tumour", "tunet.segment", "tunet_seb.segment"),
    *("tunet_unet2d.segment", "tunet_unet3d.segment"),
]


@pytest.fixture(autouse=True)
def one_cpu_thread(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)
    torch.manual_seed(0)


def settings_of(inference: str = "whole", **network: object) -> Prediction:
    values = {"name": "res_vnet_cascade", "width": 2, "dropout": 0.3, **network}
    if inference == "slices":
        values = {"name": "unet", "dimensions": 2, "depth": 2, "width": 2}
        values["normalization"] = "instance"
    way = WAYS.get(inference, {"name": inference})
    return Prediction.model_validate({"network": values, "target": "kidney", "inference": way})


class Limited(torch.nn.Module):
    """A network that a card has memory for `most` images of at a time, and that counts them."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        self.seen.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [images]


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-5), (True, 2e-2)])
@pytest.mark.parametrize("normalization", ["none", "instance"])
def test_channels_lie_last_on_a_cpu_and_change_nothing(normalization, half, tolerance):
    settings = settings_of(width=4, normalization=normalization)
    network = build_network(settings.network, 1, "kidney").eval()
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        expected = probabilities(network(image)[-1], "kidney")
    predictor = MeanPredictor([network], settings, bfloat16_on_cpu=half)
    with torch.inference_mode():
        found = predictor(image)
    kernel = network.full_size.encoders[1].layers[0][0].weight
    assert kernel.is_contiguous(memory_format=torch.channels_last_3d)
    assert kernel.dtype == (torch.bfloat16 if half else torch.float32)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


# -- several at once ------------------------------------------------------------------------------


def test_every_network_of_parts_is_compared():
    parts = {
        (stage.training.network.name, getattr(stage.training.network, "normalization", None))
        for stage in gpu.stages(small=True).values()
        if not stage.inference.stacks
    }
    stages = gpu.stages(small=True)
    networks = [stages[name].training.network for name in STAGES]
    assert parts <= {(one.name, getattr(one, "normalization", None)) for one in networks}


@pytest.mark.parametrize("name", STAGES)
def test_several_at_once_are_predicted_as_each_by_itself(name):
    """No layer mixes what lies in one batch: float rounding is all that differs."""
    stage = gpu.stages(small=True)[name]
    settings = recipe.prediction(stage)
    size = gpu.size_of(name, stage, small=True)
    size = (max(size[0], stage.seen[1][0] or 0) + 3, *size[1:])
    network = build_network(settings.network, settings.channels_in, settings.target)
    labels = scheme_with(settings.target)
    together = MeanPredictor([network], settings, labels, bfloat16_on_cpu=False)
    image = np.random.default_rng(0).normal(size=size).astype(np.float16)
    (alone,) = together.predict([image])
    together._ways = [(CPU, 3)]
    (found,) = together.predict([image])
    assert alone.std() > 0
    np.testing.assert_allclose(found, alone, atol=1e-5, rtol=0)
    sure = np.abs(alone - 0.5) > 1e-5
    assert np.array_equal((found > 0.5)[sure], (alone > 0.5)[sure])


# -- memory of a GPU ------------------------------------------------------------------------------

IMAGE = np.random.default_rng(0).normal(size=(24, 8, 8)).astype(np.float16)


def as_on_a_gpu(network: torch.nn.Module, inference: str) -> MeanPredictor:
    """One that goes the ways of a GPU, on a CPU."""
    settings = settings_of(inference)
    found = MeanPredictor([network], settings, bfloat16_on_cpu=False)
    ways = ways_on(torch.device("cuda", 0), settings.inference)
    found._ways = [(CPU, times) for _, times in ways]
    return found


@pytest.mark.parametrize("inference", WAYS)
def test_a_gpu_sees_four_times_as_many_at_once_as_a_cpu(inference):
    on_cpu, on_gpu = Limited(most=99), Limited(most=99)
    settings = settings_of(inference)
    (expected,) = MeanPredictor([on_cpu], settings, bfloat16_on_cpu=False).predict([IMAGE])
    (found,) = as_on_a_gpu(on_gpu, inference).predict([IMAGE])
    assert np.array_equal(found, expected)
    assert set(on_cpu.seen) == {settings.inference.at_once}
    assert max(on_gpu.seen) == on_gpu.seen[0] == 4 * settings.inference.at_once
    assert sum(on_gpu.seen) == sum(on_cpu.seen)


def test_a_gpu_puts_parts_together_itself_and_leaves_it_to_the_host_at_last():
    cuda = torch.device("cuda", 0)
    for name in WAYS:
        inference = settings_of(name).inference
        assert ways_on(cuda, inference) == [(cuda, 4), (cuda, 2), (cuda, 1), (CPU, 1)]
        assert ways_on(CPU, inference) == [(CPU, 1)]
    assert ways_on(cuda, settings_of().inference) == [(cuda, 1)]


@pytest.mark.parametrize("inference", WAYS)
def test_what_does_not_fit_is_predicted_with_fewer_at_once(inference, caplog):
    caplog.set_level(logging.INFO, "renal")
    batch = settings_of(inference).inference.at_once
    network, free = Limited(most=batch), Limited(most=99)
    limited = as_on_a_gpu(network, inference)
    (expected,) = as_on_a_gpu(free, inference).predict([IMAGE])
    (found,) = limited.predict([IMAGE])
    assert np.array_equal(found, expected)
    assert network.seen[:3] == [4 * batch, 2 * batch, batch]
    assert [record.message.split(" anew, ")[1] for record in caplog.records] == [
        f"{times * batch} images at once, put together on the CPU" for times in (2, 1)
    ]
    network.seen.clear()
    limited.predict([IMAGE])  # knows what fits
    assert set(network.seen) == {batch}


@pytest.mark.parametrize("inference", [*WAYS, "whole"])
def test_too_little_memory_on_a_gpu_is_told_with_what_to_do(monkeypatch, inference):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 16e9))
    network = Limited(most=0)
    with pytest.raises(InputError) as error:
        as_on_a_gpu(network, inference).predict([IMAGE])
    batch = settings_of(inference).inference.at_once
    tried = [1] if inference == "whole" else [4, 2, 1, 1]
    assert network.seen == [times * batch for times in tried]
    assert str(error.value) == (
        "the GPU's 16 GB are too little memory: lower batch of the stage's inference, "
        "or use a card with more"
    )
