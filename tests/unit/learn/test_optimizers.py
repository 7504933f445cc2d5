"""Tests of the optimisers, steps computed by hand among them."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from renal.learn.optimizers import adam, build_optimizer
from renal.learn.optimizers.settings import Adam, Sgd


class Mixed(nn.Module):
    """Every kind of parameter: one kernel of each value and a few that are not kernels."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv3d(1, 2, 3)
        self.up = nn.ConvTranspose3d(2, 2, 2)
        self.flat = nn.Conv2d(1, 2, 3)
        self.flat_up = nn.ConvTranspose2d(2, 2, 2, bias=False)
        self.norm = nn.GroupNorm(1, 2)
        self.activation = nn.PReLU()
        self.dense = nn.Linear(2, 2)

    @property
    def kernels(self):
        layers = (self.convolution, self.up, self.flat, self.flat_up)
        return {id(layer.weight) for layer in layers}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Mixed()


def test_the_optimizer_is_the_one_of_the_recipe(network):
    settings = Adam(name="adam", learning_rate=3e-3)
    optimizer = build_optimizer(network, settings)
    assert type(optimizer) is torch.optim.Adam
    (group,) = optimizer.param_groups
    assert list(map(id, group["params"])) == list(map(id, network.parameters()))
    assert (group["lr"], group["betas"], group["eps"]) == (3e-3, (0.9, 0.999), 1e-8)
    assert group["weight_decay"] == 0 and not group["amsgrad"]


def test_adam_takes_its_betas(network):
    optimizer = adam.optimizer(network, learning_rate=1e-4, betas=(0.5, 0.9))
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.9)


def test_kernel_l2_decays_kernels_of_convolutions_alone(network):
    optimizer = adam.optimizer(network, learning_rate=1e-4, betas=(0.5, 0.9), kernel_l2=1e-5)
    decayed, free = optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (2e-5, 0)
    assert {id(parameter) for parameter in decayed["params"]} == network.kernels
    everything = {id(parameter) for parameter in network.parameters()}
    assert {id(parameter) for parameter in free["params"]} == everything - network.kernels
    assert len(decayed["params"]) + len(free["params"]) == len(everything)
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"]) == (1e-4, (0.5, 0.9))


def test_kernel_l2_is_the_penalty_added_to_the_loss():
    """Three steps by weight decay and three by the penalty itself end at the same network."""
    image, results = torch.randn(1, 1, 5, 5, 5, generator=torch.Generator().manual_seed(1)), []
    for as_decay in (True, False):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.PReLU(), nn.ConvTranspose3d(2, 1, 2))
        optimizer = adam.optimizer(network, learning_rate=0.1, kernel_l2=0.3 if as_decay else 0)
        for _ in range(3):
            optimizer.zero_grad()
            loss = network(image).square().mean()
            if not as_decay:
                loss = loss + 0.3 * sum(network[i].weight.square().sum() for i in (0, 2))
            loss.backward()
            optimizer.step()
        results.append(
            torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        )
    assert torch.allclose(*results, atol=1e-5)


def test_sgd_by_hand():
    network = nn.Linear(1, 1, bias=False)
    settings = Sgd(name="sgd", learning_rate=0.1, momentum=0.5)
    optimizer = build_optimizer(network, settings)
    with torch.no_grad():
        network.weight.fill_(1)
    for gradient, expected in ((2.0, 0.8), (2.0, 0.5), (0.0, 0.35)):
        # Velocity 2, then 3, then 1.5.
        network.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        assert network.weight.item() == pytest.approx(expected)


@pytest.mark.parametrize("rate", [0, -1e-3, 1e38])
def test_a_rate_that_nothing_learns_at_is_refused(rate):
    with pytest.raises(ValidationError, match="learning_rate"):
        Adam(name="adam", learning_rate=rate)
