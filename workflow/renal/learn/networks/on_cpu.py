"""Layers that save a CPU which predicts copies and memory; else they are torch's own."""

import torch
from torch import Tensor, nn
from torch.nn import functional

PART = 1 << 19  # numbers that stay in a CPU's cache


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation that overwrites what it is given where a CPU predicts.

    PyTorch's own would copy (batch, channels, z, y, x) to channels first and back.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not _predicts_on_cpu(self, x) or len(x) > 1:
            return super().forward(x)
        # Summed by parts: added up one by one, millions of numbers would be off by 1e-3.
        total, squares = torch.zeros(2, x.shape[1], dtype=torch.float64)
        for part in _parts(x):
            total += part.float().sum((0, 2, 3, 4))
            squares += part.float().square().sum((0, 2, 3, 4))
        mean = total / x[0, 0].numel()
        variance = (squares / x[0, 0].numel() - mean**2).clamp(min=0)
        given = mean.float(), variance.float(), self.weight, self.bias
        for part in _parts(x):
            part.copy_(functional.batch_norm(part, *given, eps=self.eps))
        return x


class PReLU(nn.PReLU):
    """Leaky rectification that overwrites what it is given where a CPU predicts."""

    def forward(self, x: Tensor) -> Tensor:
        if not _predicts_on_cpu(self, x):
            return super().forward(x)
        for part in _parts(x):
            part.copy_(super().forward(part))
        return x


def _predicts_on_cpu(layer: nn.Module, x: Tensor) -> bool:
    return x.is_cpu and not (layer.training or torch.is_grad_enabled())


def _parts(x: Tensor) -> tuple[Tensor, ...]:
    """Views of a few slices of (batch, channels, z, y, x) each, which stay in a CPU's cache."""
    return tuple(x.split(max(1, PART // x[:, :, 0].numel()), dim=2))
