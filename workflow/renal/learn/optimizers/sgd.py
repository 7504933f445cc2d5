"""Stochastic gradient descent with momentum."""

import torch


def optimizer(
    network: torch.nn.Module, *, learning_rate: float, momentum: float
) -> torch.optim.Optimizer:
    """SGD without dampening, weight decay or Nesterov's step."""
    return torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum)
