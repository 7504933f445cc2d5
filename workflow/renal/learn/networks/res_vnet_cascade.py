"""Res-VNet and the cascade of two of them (Hao 2019, section 2.3, figures 4 and 5)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from renal.learn.networks.on_cpu import InstanceNorm, PReLU

ENCODER_DILATIONS = ((1,), (1, 1), (1, 2, 4), (3, 4, 5))
DECODER_CONVOLUTIONS = (3, 3, 2, 1)


def _activated(layer: nn.Module, channels: int, normalization: str) -> nn.Sequential:
    """A convolution with its activation and, where the recipe asks for it, normalisation."""
    norms = [InstanceNorm(channels, affine=True)] if normalization == "instance" else []
    return nn.Sequential(layer, *norms, PReLU(channels))


class ConvolutionBlock(nn.Module):
    """A chain of 3x3x3 convolutions of one width; a dilation for each."""

    def __init__(
        self, channels_in: int, channels: int, dilations: tuple[int, ...], normalization: str
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                _activated(
                    nn.Conv3d(
                        channels if position else channels_in,
                        channels,
                        3,
                        padding=dilation,
                        dilation=dilation,
                    ),
                    channels,
                    normalization,
                )
                for position, dilation in enumerate(dilations)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class ResVNet(nn.Module):
    """V-Net with residual sums, strided convolutions and dilated deep blocks.

    Parameters
    ----------
    channels_in : int
        Channels of the input; they must divide `width`.
    width : int
        Channels of the first block; they double with every level.
    dropout : float
        Share of activations dropped after every block but the first and the last.
    normalization : {"none", "instance"}
        The paper says nothing of it, and public code has none.
    """

    def __init__(self, channels_in: int, width: int, dropout: float, normalization: str) -> None:
        super().__init__()
        self.width = width
        self.dropout = dropout
        widths = [width * 2**level for level in range(len(ENCODER_DILATIONS))]
        self.encoders = nn.ModuleList(
            ConvolutionBlock(width if level else channels_in, width, dilations, normalization)
            for level, (width, dilations) in enumerate(zip(widths, ENCODER_DILATIONS, strict=True))
        )
        self.downs = nn.ModuleList(
            _activated(nn.Conv3d(width, wider, 2, stride=2), wider, normalization)
            for width, wider in pairwise(widths)
        )
        bottom = 2 * widths[-1]
        self.bottom = _activated(nn.Conv3d(widths[-1], bottom, 3, padding=1), bottom, normalization)
        self.deepest_decoder = ConvolutionBlock(
            widths[-1], bottom, (1,) * DECODER_CONVOLUTIONS[0], normalization
        )
        self.ups = nn.ModuleList()
        self.decoders = nn.ModuleList()
        for width, skip, count in zip(
            widths[:0:-1], widths[-2::-1], DECODER_CONVOLUTIONS[1:], strict=True
        ):
            up = nn.ConvTranspose3d(2 * width, width, 2, stride=2)
            self.ups.append(_activated(up, width, normalization))
            self.decoders.append(ConvolutionBlock(width + skip, width, (1,) * count, normalization))
        self.head = nn.Conv3d(widths[1], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 1, z, y, x) of an input (batch, channels_in, z, y, x)."""
        skips = []
        # V-Net's residual sum at the input: its channels repeated to the width of the block.
        repeats = self.width // x.shape[1]
        residual = x.repeat(1, repeats, 1, 1, 1)
        for level, encoder in enumerate(self.encoders):
            if level:
                x = residual = self.downs[level - 1](x)
            x = encoder(x) + residual
            if level:
                x = self._dropped(x)
            skips.append(x)
        skips.pop()
        x = self._dropped(self.deepest_decoder(x) + self.bottom(x))
        for level, (up, decoder) in enumerate(zip(self.ups, self.decoders, strict=True)):
            x = up(x)
            x = decoder(torch.cat([x, skips.pop()], dim=1)) + x
            if level < len(self.decoders) - 1:
                x = self._dropped(x)
        logits: Tensor = self.head(x)
        return logits

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)


class Network(nn.Module):
    """Two Res-VNets: the second sees the image and what the first found at half size.

    The second net receives the first one's probabilities, doubled trilinearly.
    """

    def __init__(
        self, channels_in: int, channels_out: int, width: int, dropout: float, normalization: str
    ) -> None:
        super().__init__()
        if (channels_in, channels_out) != (1, 1):
            raise ValueError("the cascade takes and gives one channel")
        self.half_size = ResVNet(1, width, dropout, normalization)
        self.full_size = ResVNet(2, width, dropout, normalization)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both nets at full size, each (batch, 1, z, y, x)."""
        # The mean of 2x2x2 voxels is what trilinear interpolation to half the size gives.
        coarse = self.half_size(functional.avg_pool3d(image, 2))
        coarse = functional.interpolate(coarse, scale_factor=2, mode="trilinear")
        fine = self.full_size(torch.cat([image, coarse.sigmoid()], dim=1))
        return coarse, fine
