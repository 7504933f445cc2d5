"""Squeeze and excitation (Hu, Shen and Sun 2018), a block of several networks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class SqueezeExcitation(nn.Module):
    """Weighs channels by what all of them hold on average over the input.

    Parameters
    ----------
    channels : int
        Channels of the input and the output.
    ratio : int
        How many times fewer channels the bottleneck has; it keeps at least one.
    """

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        bottleneck = max(channels // ratio, 1)
        self.excitation = nn.Sequential(
            nn.Linear(channels, bottleneck, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(bottleneck, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weighted channels of an input (batch, channels, ...) with any number of axes."""
        weighted: Tensor = _Weighted.apply(x, *self.excitation.parameters())  # type: ignore[no-untyped-call]
        return weighted


class _Weighted(torch.autograd.Function):
    """An input times its weights, with one pass for both ways in which it has a gradient.

    The input is weighted, and its means decide the weights. Left to autograd, the gradient of each
    would be written and read again to be added up, which takes a third of a step of TuNet with
    these blocks.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        means = x.flatten(2).mean(2)
        hidden = functional.linear(means, first).relu()
        weights = functional.linear(hidden, second).sigmoid()
        small = (values.to(first.dtype) for values in (means, hidden, weights))
        ctx.save_for_backward(x, first, second, *small)
        return x * _over(weights, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,) = gradients
        x, first, second, means, hidden, weights = ctx.saved_tensors
        # Of the sigmoid's input, the bottleneck and the means; there the numbers are few.
        slope = (gradient * x).flatten(2).sum(2, dtype=first.dtype) * weights * (1 - weights)
        at_hidden = slope @ second * (hidden > 0)
        at_means = at_hidden @ first / x[0, 0].numel()
        at_x = torch.addcmul(_over(at_means, x), gradient, _over(weights, x))
        return at_x, at_hidden.T @ means, slope.T @ hidden


def _over(values: Tensor, x: Tensor) -> Tensor:
    """(batch, channels) numbers beside an input, in its precision."""
    return values.to(x.dtype).reshape(*values.shape, *(1 for _ in x.shape[2:]))
