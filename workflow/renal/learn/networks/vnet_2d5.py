"""2.5D multi-scale V-Net, which finds the tumour in slices (msvnet, section 3.2)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from renal.learn.networks.squeeze_excitation import SqueezeExcitation

# Convolutions of each level down (Milletari 2016, figure 2); those at the bottom are `dilations`.
ENCODER_CONVOLUTIONS = (1, 2, 3, 3)
DECODER_CONVOLUTIONS = (3, 3, 2, 1)


def _activated(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.PReLU(channels))


def _block(channels_in: int, channels: int, dilations: tuple[int, ...]) -> nn.Sequential:
    """A chain of 3x3 convolutions of one width; a dilation for each."""
    entering = [channels_in] + [channels] * (len(dilations) - 1)
    return nn.Sequential(
        *(
            _activated(
                nn.Conv2d(before, channels, 3, padding=rate, dilation=rate, bias=False), channels
            )
            for before, rate in zip(entering, dilations, strict=True)
        )
    )


class AttentionGate(nn.Module):
    """Weighs the places of a skip connection by the decoder's features (Oktay 2018, equation 1).

    Parameters
    ----------
    channels, gate_channels : int
        Channels of the encoder's features and of the decoder's, which have the same size.
    """

    def __init__(self, channels: int, gate_channels: int) -> None:
        super().__init__()
        inner = channels // 2
        # One convolution of both joined is Oktay's sum of a convolution of each.
        self.attention = nn.Sequential(
            nn.Conv2d(channels + gate_channels, inner, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, 1, 1),
            nn.Sigmoid(),
        )

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        weights: Tensor = self.attention(torch.cat([skip, gate], dim=1))
        return skip * weights


class Network(nn.Module):
    """V-Net in two dimensions that sees neighbouring slices and segments the middle one.

    Five levels of residual blocks with batch normalisation; strided convolutions lead down,
    transposed ones up. Each mechanism of the paper can be left out.

    Parameters
    ----------
    channels_in : int
        Neighbouring slices; odd.
    channels_out : int
        Channels of the logits.
    width : int
        Channels of the first block, even; they double with every level. Sizes y and x must be
        multiples of 16.
    multi_scale : bool
        Join the shrunken slices to what each down-sampling gives.
    squeeze : int or None
        Ratio of the squeeze and excitation after each down-sampling; None: without.
    attention : bool
        Attention gates on the skip connections.
    dilations : tuple of int
        Rates of the three convolutions at the bottom of the encoder; (1, 1, 1): undilated.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        multi_scale: bool,
        squeeze: int | None,
        attention: bool,
        dilations: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.multi_scale = multi_scale
        rates = [*((1,) * count for count in ENCODER_CONVOLUTIONS), tuple(dilations)]
        widths = [width * 2**level for level in range(len(rates))]
        joined = channels_in if multi_scale else 0
        self.encoders = nn.ModuleList(
            _block(entering, width, rates_of_level)
            for entering, width, rates_of_level in zip(
                [channels_in, *(width + joined for width in widths[1:])], widths, rates, strict=True
            )
        )
        self.downs = nn.ModuleList(
            nn.Sequential(
                _activated(nn.Conv2d(width, wider, 2, stride=2, bias=False), wider),
                *([] if squeeze is None else [SqueezeExcitation(wider, squeeze)]),
            )
            for width, wider in pairwise(widths)
        )
        self.ups = nn.ModuleList()
        self.gates = nn.ModuleList()
        self.decoders = nn.ModuleList()
        below = widths[-1]
        for width, count in zip(widths[-2::-1], DECODER_CONVOLUTIONS, strict=True):
            up = nn.ConvTranspose2d(below, width, 2, stride=2, bias=False)
            self.ups.append(_activated(up, width))
            if attention:
                self.gates.append(AttentionGate(width, width))
            below = 2 * width
            self.decoders.append(_block(below, below, (1,) * count))
        self.head = nn.Conv2d(below, channels_out, 1)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Logits (batch, channels_out, 1, y, x) of neighbouring slices (batch, 1, z, y, x)."""
        slices = image.squeeze(1)
        middle = slices.shape[1] // 2
        # V-Net adds a block's input to its output: at the top, the slice that is segmented.
        x = self.encoders[0](slices) + slices[:, middle : middle + 1]
        skips = [x]
        for down, encoder in zip(self.downs, self.encoders[1:], strict=True):
            residual = x = down(x)
            if self.multi_scale:
                slices = functional.avg_pool2d(slices, 2)
                x = torch.cat([x, slices], dim=1)
            x = encoder(x) + residual
            skips.append(x)
        x = skips.pop()
        for level, (up, decoder) in enumerate(zip(self.ups, self.decoders, strict=True)):
            x = up(x)
            skip = skips.pop()
            if self.gates:
                skip = self.gates[level](skip, x)
            x = torch.cat([x, skip], dim=1)
            x = decoder(x) + x
        return (self.head(x).unsqueeze(2),)
