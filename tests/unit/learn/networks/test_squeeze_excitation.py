"""Tests of squeeze and excitation."""

import math

import pytest
import torch
from torch import nn

from renal.learn.networks.squeeze_excitation import SqueezeExcitation
from tests.unit.learn.networks.helpers import layers_of, parameter_count


@pytest.mark.parametrize("size", [(4,), (2, 3), (2, 3, 4)])
def test_squeeze_and_excitation_by_hand(size):
    block = SqueezeExcitation(2, ratio=2)
    first, second = layers_of(block, nn.Linear)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 2.0]]))
        second.weight.copy_(torch.tensor([[math.log(3)], [0.0]]))
    values = torch.linspace(-2, 2, math.prod(size)).reshape(size)
    x = torch.stack([values + 3, values - 1])[None]
    # Means 3 and -1 give 1 in the bottleneck, sigmoid(log 3) = 3/4 and sigmoid(0) = 1/2.
    assert torch.allclose(block(x)[:, 0], 0.75 * x[:, 0], atol=1e-6)
    assert torch.allclose(block(x)[:, 1], 0.5 * x[:, 1], atol=1e-6)


def test_squeeze_and_excitation_keeps_one_channel_and_has_no_bias():
    assert parameter_count(SqueezeExcitation(8, ratio=16)) == 8 + 8
    assert parameter_count(SqueezeExcitation(64, ratio=16)) == 2 * 64 * 4


def test_squeeze_and_excitation_looks_at_each_example_alone():
    block = SqueezeExcitation(4, ratio=2)
    x = torch.rand(3, 4, 2, 2)
    assert torch.allclose(block(x)[1:2], block(x[1:2]))


@pytest.mark.parametrize("size", [(4,), (2, 3), (2, 3, 4)])
def test_squeeze_and_excitation_has_the_gradients_of_its_formula(size):
    torch.manual_seed(0)
    block = SqueezeExcitation(4, ratio=2).double()
    x = torch.randn(3, 4, *size, dtype=torch.float64, requires_grad=True)
    towards = torch.randn_like(x)
    weights = block.excitation(x.flatten(2).mean(2)).reshape(3, 4, *(1 for _ in size))
    given = [x, *block.parameters()]
    expected = torch.autograd.grad((x * weights * towards).sum(), given)
    found = torch.autograd.grad((block(x) * towards).sum(), given)
    assert all(map(torch.allclose, found, expected))


def test_squeeze_and_excitation_learns_in_half_precision():
    """Its gradients are its input's and its parameters' kind, and near those in float32."""
    torch.manual_seed(0)
    block, x = SqueezeExcitation(8, ratio=2), torch.randn(2, 8, 4, 4, 4)
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        given = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            weighted = block(given)
        gradients.append(torch.autograd.grad(weighted.square().sum(), [given, *block.parameters()]))
        assert weighted.dtype == gradients[-1][0].dtype == dtype
    for exact, rounded in zip(*gradients, strict=True):
        assert (rounded.float() - exact).norm() < 0.02 * exact.norm()
