"""Device: this process's GPU where there is one, and half precision where it is real or asked."""

import pytest
import torch
from torch import nn

from renal.learn.device import choose_device, forward_pass, place
from renal.learn.settings import Prediction


@pytest.mark.parametrize(("asked", "expected"), [(False, torch.float32), (True, torch.bfloat16)])
def test_without_a_gpu_half_precision_is_as_asked(monkeypatch, asked, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(bfloat16_on_cpu=asked) == (torch.device("cpu"), expected)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    ("capability", "expected"),
    [  # P100, V100, T4, A100
        ((6, 0), torch.float32),
        ((7, 0), torch.float16),
        ((7, 5), torch.float16),
        ((8, 0), torch.bfloat16),
    ],
)
def test_a_gpu_computes_in_the_half_precision_that_it_has_in_hardware(
    monkeypatch, asked, capability, expected
):
    def is_supported(including_emulation=True):
        return including_emulation or capability >= (8, 0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device(bfloat16_on_cpu=asked) == (torch.device("cuda", 1), expected)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_forward_pass_computes_in_its_precision(precision, recwarn):
    weights = torch.ones(2, 2)
    with forward_pass(torch.device("cpu"), precision):
        assert (weights @ weights).dtype == precision
    assert not recwarn


@pytest.mark.parametrize(
    ("normalization", "asked", "last"),
    [
        ("none", {}, True),
        ("instance", {}, False),
        ("instance", {"channels_last": True}, True),
        ("none", {"channels_last": False, "benchmark": False}, False),
        ("none", {"compile": True}, True),
    ],
)
def test_a_gpu_is_told_what_the_recipe_asks_for(monkeypatch, normalization, asked, last):
    class Network(nn.Conv3d):
        def to(self, device):
            placed.append(device)

        def compile(self):
            placed.append("compiled")

    placed, device = [], torch.device("cuda", 1)
    network = {"name": "res_vnet_cascade", "width": 2, "dropout": 0, "normalization": normalization}
    settings = Prediction(network=network, target="kidney", acceleration=asked)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", not asked.get("benchmark", True))
    place(convolution := Network(2, 2, 3), settings, device)
    assert placed == [device, *["compiled"] * asked.get("compile", False)]
    assert torch.backends.cudnn.benchmark == asked.get("benchmark", True)
    weight = convolution.weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d) == last
    assert weight.is_contiguous() != last
