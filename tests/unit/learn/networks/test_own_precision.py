"""Layers that keep precision or layout are torch's own: to the bit, or within half precision."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from renal.learn.networks.own_precision import GroupNorm, InstanceNorm, doubled


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


def instance_norms(training: bool) -> tuple[nn.Module, nn.Module]:
    """Ours and torch's, with the same scales and shifts."""
    torch.manual_seed(0)
    norms = InstanceNorm(3, affine=True), nn.InstanceNorm3d(3, affine=True)
    nn.init.normal_(norms[0].weight)
    norms[1].load_state_dict(norms[0].state_dict())
    return norms[0].train(training), norms[1].train(training)


@pytest.mark.parametrize(("training", "half"), [(True, False), (True, True), (False, False)])
def test_instance_norm_is_torchs_where_exactness_counts(training, half):
    ours, torchs = instance_norms(training)
    x = torch.randn(2, 3, 4, 5, 6).to(torch.bfloat16 if half else torch.float32)
    assert torch.equal(ours(x), torchs(x))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_instance_norm_of_a_prediction_keeps_the_layout(layout):
    ours, torchs = instance_norms(training=False)
    x = torch.randn(2, 3, 4, 5, 6).add(2).bfloat16().contiguous(memory_format=layout)
    found = ours(x)
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(found, torchs(x), atol=2e-2, rtol=2e-2)
