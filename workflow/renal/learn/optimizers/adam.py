"""Adam (Kingma and Ba 2014) with torch's other defaults."""

from typing import Any

import torch
from torch import nn

CONVOLUTIONS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)


def optimizer(
    network: nn.Module,
    *,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    kernel_l2: float = 0.0,
) -> torch.optim.Optimizer:
    """Adam, with an L2 penalty on the kernels of convolutions where asked for.

    Parameters
    ----------
    network : torch.nn.Module
        What is trained.
    learning_rate : float
        Initial rate.
    betas : tuple of float
        Decay of the running means of gradient and squared gradient.
    kernel_l2 : float
        As Keras has it: this times the sum of the kernels' squares is added to the loss. Biases,
        normalisation and fully connected layers are not penalised.
    """
    # One kernel for all tensors, which also looks at scaled gradients without the host waiting.
    fused = next(network.parameters()).is_cuda or None
    if not kernel_l2:
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas, fused=fused)
    kernels = {
        id(module.weight) for module in network.modules() if isinstance(module, CONVOLUTIONS)
    }
    parameters = list(network.parameters())
    groups: list[dict[str, Any]] = [
        # The derivative of l2 * w^2 is 2 * l2 * w, that of torch's decay is decay * w.
        {"params": [p for p in parameters if id(p) in kernels], "weight_decay": 2 * kernel_l2},
        {"params": [p for p in parameters if id(p) not in kernels]},
    ]
    return torch.optim.Adam(groups, lr=learning_rate, betas=betas, fused=fused)
