"""Device: this process's GPU where there is one, and half precision where it is real or asked."""

import pytest
import torch

from renal.learn.device import choose_device


@pytest.mark.parametrize("asked", [False, True])
def test_without_a_gpu_half_precision_is_as_asked(monkeypatch, asked):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(bfloat16_on_cpu=asked) == (torch.device("cpu"), asked)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("in_hardware", [False, True])
def test_a_gpu_computes_in_half_precision_where_it_has_it_in_hardware(
    monkeypatch, asked, in_hardware
):
    def is_supported(including_emulation=True):
        return including_emulation or in_hardware

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device(bfloat16_on_cpu=asked) == (torch.device("cuda", 1), in_hardware)
