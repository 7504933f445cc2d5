"""U-Net of multi-scale residual blocks (Qiao 2019, figures 2 and 3)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from renal.learn.networks.on_cpu import InstanceNorm

NORMALIZATIONS = {"batch": nn.BatchNorm3d, "instance": InstanceNorm}
SHARES = (6, 3, 2)  # parts of a block's channels that its three convolutions have


def _activated(layer: nn.Module, channels: int, normalization: str) -> nn.Sequential:
    """A convolution with its normalisation and activation."""
    return nn.Sequential(layer, _normalized(channels, normalization), nn.ReLU(inplace=True))


def _normalized(channels: int, normalization: str) -> nn.Module:
    return NORMALIZATIONS[normalization](channels, affine=True)


class MultiScaleResidualBlock(nn.Module):
    """A chain of three 3x3x3 convolutions whose outputs are all kept, beside a shortcut.

    The outputs see 3, 5 and 7 voxels along an axis. They are concatenated and reduced to
    `channels` by a 1x1x1 convolution (Qiao 2019, figure 3). The convolutions have W / 6, W / 3 and
    W / 2 channels, W = alpha * channels, rounded down (Ibtehaz and Rahman 2020, MultiResUNet).

    Parameters
    ----------
    channels_in, channels : int
        Channels of the input and of the output.
    alpha : float
        Channels of the concatenated outputs, relative to `channels`.
    normalization : {"batch", "instance"}
        What follows each convolution.
    """

    def __init__(self, channels_in: int, channels: int, alpha: float, normalization: str) -> None:
        super().__init__()
        widths = [int(alpha * channels / share) for share in SHARES]
        self.chain = nn.ModuleList(
            _activated(
                nn.Conv3d(before, after, 3, padding=1, bias=False),
                after,
                normalization,
            )
            for before, after in pairwise([channels_in, *widths])
        )
        self.reduce = nn.Sequential(
            nn.Conv3d(sum(widths), channels, 1, bias=False), _normalized(channels, normalization)
        )
        self.shortcut = nn.Sequential(
            nn.Conv3d(channels_in, channels, 1, bias=False), _normalized(channels, normalization)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channels, z, y, x) of an input (batch, channels_in, z, y, x)."""
        scales = []
        scale = x
        for convolution in self.chain:
            scale = convolution(scale)
            scales.append(scale)
        result: Tensor = self.relu(self.reduce(torch.cat(scales, dim=1)) + self.shortcut(x))
        return result


class Network(nn.Module):
    """Encoder and decoder of multi-scale residual blocks, with more transposed convolutions below.

    Every level of the encoder but the deepest is halved by max-pooling and joins the decoder's
    level of its size.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels of the image and of the logits.
    widths : sequence of int
        Channels of the levels, finest first.
    alpha : float
        Channels within a block, relative to the level's.
    extra_up : int
        Number of decoder levels, from the deepest up, in which a transposed 3x3x3 convolution of
        stride 1 follows the one that doubles the size.
    normalization : {"batch", "instance"}
        What follows each convolution.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        widths: Sequence[int],
        alpha: float,
        extra_up: int,
        normalization: str,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            MultiScaleResidualBlock(before, width, alpha, normalization)
            for before, width in pairwise([channels_in, *widths])
        )
        self.pool = nn.MaxPool3d(2)
        self.ups = nn.ModuleList()
        self.decoders = nn.ModuleList()
        for position, (deeper, width) in enumerate(pairwise(reversed(widths))):
            doubled = nn.ConvTranspose3d(deeper, width, 2, stride=2, bias=False)
            up = [_activated(doubled, width, normalization)]
            if position < extra_up:
                extra = nn.ConvTranspose3d(width, width, 3, padding=1, bias=False)
                up.append(_activated(extra, width, normalization))
            self.ups.append(nn.Sequential(*up))
            self.decoders.append(MultiScaleResidualBlock(2 * width, width, alpha, normalization))
        self.head = nn.Conv3d(widths[0], channels_out, 1)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Logits (batch, channels_out, z, y, x) of an image (batch, channels_in, z, y, x).

        Each axis is a multiple of 2 to the number of poolings, 16 for five levels.
        """
        x = self.encoders[0](image)
        skips = [x]
        for encoder in self.encoders[1:]:
            x = encoder(self.pool(x))
            skips.append(x)
        for up, decoder, skip in zip(self.ups, self.decoders, skips[-2::-1], strict=True):
            x = decoder(torch.cat([up(x), skip], dim=1))
        return (self.head(x),)
