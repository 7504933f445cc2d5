"""Layers of a CPU that predicts: torch's own numbers, within half precision where that is used."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from renal.learn.networks.on_cpu import InstanceNorm, PReLU


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


LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


@torch.inference_mode()
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norm_of_a_prediction_keeps_the_layout(layout, half):
    ours, torchs = instance_norms(training=False)
    x = torch.randn(1, 3, 4, 5, 6).add(2).to(torch.bfloat16 if half else torch.float32)
    expected = torchs(x)
    found = ours(x.contiguous(memory_format=layout))
    assert found.dtype == x.dtype
    assert found.is_contiguous(memory_format=layout)
    tolerance = 2e-2 if half else 1e-5
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@torch.inference_mode()
def test_instance_norm_of_a_prediction_is_exact_on_millions_of_voxels():
    x = torch.randn(1, 2, 64, 160, 160).add(2).contiguous(memory_format=torch.channels_last_3d)
    expected = functional.instance_norm(x.double())
    found = InstanceNorm(2, affine=True).eval()(x)
    assert (found - expected).abs().max() < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rectified_in_place_are_torchs_numbers(layout):
    ours, torchs = PReLU(3).eval(), nn.PReLU(3)
    nn.init.uniform_(ours.weight, -0.5, 1.5)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 40, 80, 80).contiguous(memory_format=layout)
    expected = torchs(x)
    assert torch.equal(ours(x), expected)


@pytest.mark.parametrize("layer", [InstanceNorm(3), PReLU(3)])
def test_what_is_learned_from_is_not_overwritten(layer):
    x = torch.randn(1, 3, 4, 5, 6)
    before = x.clone()
    layer.train()(x)
    layer.eval()(x)  # with gradients
    assert torch.equal(x, before)
