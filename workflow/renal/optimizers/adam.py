"""Adam (Kingma and Ba 2014) with torch's other defaults."""

from collections.abc import Iterable

import torch


def optimizer(
    parameters: Iterable[torch.nn.Parameter], *, learning_rate: float
) -> torch.optim.Optimizer:
    """Adam with betas 0.9 and 0.999 and no weight decay."""
    return torch.optim.Adam(parameters, lr=learning_rate)
