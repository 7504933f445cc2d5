"""Layers that keep their input's precision, layout or memory, where torch's own do not.

CUDA's autocast takes group normalisation and doubling to float32. Both sum in float32 within their
kernels, whatever they are given. Results in half precision take half the memory, and half the
traffic, of all that follows. The CPU's autocast does so by itself.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

PART = 1 << 19  # numbers that stay in a CPU's cache


class GroupNorm(nn.GroupNorm):
    """Group normalisation whose result has the precision of its input."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cuda:
            return super().forward(x)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)  # CUDA has no mixed kernel
        with torch.autocast("cuda", enabled=False):
            return functional.group_norm(x, self.num_groups, weight, bias, self.eps)


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation that overwrites what it is given where a CPU predicts.

    It takes and gives (batch, channels, z, y, x). PyTorch's own would copy all to channels first
    and back.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not _predicts_on_cpu(self, x) or len(x) > 1:
            return super().forward(x)
        # Summed by parts: added up one by one, millions of numbers would be off by 1e-3.
        total, squares = torch.zeros(2, x.shape[1], dtype=torch.float64)
        for part in _parts(x):
            values = part.float()
            total += values.sum((0, 2, 3, 4))
            squares += values.square().sum((0, 2, 3, 4))
        count = x[0, 0].numel()
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        moments = mean.float(), variance.float()
        for part in _parts(x):
            part.copy_(functional.batch_norm(part, *moments, self.weight, self.bias, eps=self.eps))
        return x


class PReLU(nn.PReLU):
    """Leaky rectification that overwrites what it is given where a CPU predicts."""

    def forward(self, x: Tensor) -> Tensor:
        if not _predicts_on_cpu(self, x):
            return super().forward(x)
        for part in _parts(x):
            part.copy_(super().forward(part))
        return x


class ConvTranspose(nn.ConvTranspose3d):
    """Transposed convolution whose kernel is as large as its stride: no two of its results meet.

    Where a CPU predicts, it is one product of matrices and gives channels last. PyTorch's own
    gives channels first, which are copied back.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not _predicts_on_cpu(self, x):
            return super().forward(x, output_size)
        kernel = self.weight.permute(2, 3, 4, 1, 0)
        bias = None if self.bias is None else self.bias.repeat(math.prod(self.stride))
        products = functional.linear(x.movedim(1, -1), kernel.flatten(0, 3), bias)
        batch, *size = products.shape[:4]
        apart = products.view(batch, *size, *kernel.shape[:4]).permute(0, 1, 4, 2, 5, 3, 6, 7)
        return apart.flatten(5, 6).flatten(3, 4).flatten(1, 2).movedim(-1, 1)


def doubled(x: Tensor) -> Tensor:
    """Twice the size along each spatial axis by nearest neighbours, in the input's precision."""
    with torch.autocast("cuda", enabled=False):
        return functional.interpolate(x, scale_factor=2, mode="nearest")


def _predicts_on_cpu(layer: nn.Module, x: Tensor) -> bool:
    return not (layer.training or torch.is_grad_enabled() or x.is_cuda)


def _parts(x: Tensor) -> tuple[Tensor, ...]:
    """Views of a few slices of (batch, channels, z, y, x) each, which stay in a CPU's cache."""
    parts: tuple[Tensor, ...] = x.split(max(1, PART // x[:, :, 0].numel()), dim=2)
    return parts
