"""Stochastic gradient descent with momentum."""

import torch


def optimizer(
    network: torch.nn.Module, *, learning_rate: float, momentum: float
) -> torch.optim.Optimizer:
    """SGD without dampening, weight decay or Nesterov's step."""
    parameters = list(network.parameters())
    fused = parameters[0].is_cuda or None  # one kernel for all tensors
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=momentum, fused=fused)
