"""Squeeze and excitation (Hu, Shen and Sun 2018), a block of several networks."""

from torch import Tensor, nn


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
        weights: Tensor = self.excitation(x.flatten(2).mean(2))
        return x * weights.reshape(*weights.shape, *(1 for _ in x.shape[2:]))
