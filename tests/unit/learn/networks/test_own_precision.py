"""Layers that keep precision or layout are torch's own: to the bit, or within half precision."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from renal.learn.networks.own_precision import GroupNorm, doubled


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", [(2, 4, 6, 6), (1, 4, 4, 6, 6)])
def test_on_a_cpu_nothing_changes(shape, half):
    torch.manual_seed(0)
    ours, torchs = GroupNorm(2, 4), nn.GroupNorm(2, 4)
    nn.init.normal_(ours.weight)
    torchs.load_state_dict(ours.state_dict())
    results = []
    for norm, double in (
        (ours, doubled),
        (torchs, lambda x: functional.interpolate(x, scale_factor=2, mode="nearest")),
    ):
        x = torch.linspace(-1, 3, torch.Size(shape).numel()).view(shape)
        x = (x.bfloat16() if half else x).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = double(norm(x))
        found.float().square().sum().backward()
        results.append((found, x.grad, norm.weight.grad, norm.bias.grad))
    for mine, expected in zip(*results, strict=True):
        assert mine.dtype == expected.dtype
        assert torch.equal(mine, expected)
