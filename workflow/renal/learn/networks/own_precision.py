"""Layers that keep their input's precision, or its layout, where torch's own do not.

CUDA's autocast takes group normalisation and doubling to float32. Both sum in float32 within their
kernels, whatever they are given. Results in half precision take half the memory, and half the
traffic, of all that follows. The CPU's autocast does so by itself.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class GroupNorm(nn.GroupNorm):
    """Group normalisation whose result has the precision of its input."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cuda:
            return super().forward(x)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)  # CUDA has no mixed kernel
        with torch.autocast("cuda", enabled=False):
            return functional.group_norm(x, self.num_groups, weight, bias, self.eps)


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation that leaves channels last where a CPU predicts in half precision.

    It takes and gives (batch, channels, z, y, x). PyTorch's own would copy all to channels first
    and back. Group normalisation with a channel in each group is the same, and knows both layouts;
    but with channels last it is less exact (1e-3), which only half precision allows.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training or x.is_cuda or x.dtype == torch.float32:
            return super().forward(x)
        return functional.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


def doubled(x: Tensor) -> Tensor:
    """Twice the size along each spatial axis by nearest neighbours, in the input's precision."""
    with torch.autocast("cuda", enabled=False):
        return functional.interpolate(x, scale_factor=2, mode="nearest")
