"""U-Net (Ronneberger 2015; Çiçek 2016), plain, in two or three dimensions.

The arrangement is that of W-Net and T-Net (Vu 2019, figures 2 and 3), which are made of the same
parts, so that a plain U-Net is their baseline and differs only in what they add.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from renal.learn.networks.on_cpu import InstanceNorm
from renal.learn.networks.own_precision import GroupNorm, doubled
from renal.learn.networks.squeeze_excitation import SqueezeExcitation

GROUPS = 8

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
MAX_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: InstanceNorm}

Normalize = Callable[[int], nn.Module]


def group_norm(channels: int, groups: int = GROUPS) -> GroupNorm:
    """Group normalisation; as many of the `groups` as divide the channels evenly."""
    return GroupNorm(math.gcd(groups, channels), channels)


class UNet(nn.Module):
    """Encoder and decoder joined by skip connections.

    Level d of the encoder has two convolutions, of ``width * 2**d`` and of twice as many channels,
    and level d of the decoder two of the latter number. A convolution has a kernel of 3 along each
    axis and is followed by normalisation and ReLU. Max-pooling leads down, nearest neighbours up.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels of the input and of the logits.
    dimensions : {2, 3}
        Spatial axes.
    depth : int
        Levels; every spatial size must be a multiple of ``2**(depth - 1)``.
    width : int
        Channels of the very first convolution.
    normalize : callable
        From a number of channels to the layer that normalises them.
    pyramid : bool
        Join the max-pooled image, which is the input's first channel, to what enters each deeper
        level of the encoder (Vu 2019, section 2.2).
    squeeze : int or None
        Ratio of the squeeze and excitation after each convolution and after each concatenation
        (Vu 2019, section 2.3); None: without.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        dimensions: int,
        depth: int,
        width: int,
        normalize: Normalize,
        pyramid: bool = False,
        squeeze: int | None = None,
    ) -> None:
        super().__init__()
        convolution = CONVOLUTION[dimensions]

        def excitation(channels: int) -> list[nn.Module]:
            return [] if squeeze is None else [SqueezeExcitation(channels, squeeze)]

        def block(channels: int, *widths: int, joined: bool) -> nn.Sequential:
            layers = excitation(channels) if joined else []
            for wider in widths:
                layers += [
                    convolution(channels, wider, 3, padding=1),
                    normalize(wider),
                    nn.ReLU(inplace=True),
                    *excitation(wider),
                ]
                channels = wider
            return nn.Sequential(*layers)

        self.pyramid = pyramid
        self.pool = MAX_POOL[dimensions](2)
        widths = [width * 2**level for level in range(depth)]
        self.encoders = nn.ModuleList([block(channels_in, width, 2 * width, joined=False)])
        # A level hands down twice its width, which is the width of the next one.
        self.encoders.extend(
            block(width + pyramid, width, 2 * width, joined=pyramid) for width in widths[1:]
        )
        # From below come twice as many channels as the level's encoder has.
        self.decoders = nn.ModuleList(
            block(4 * width + 2 * width, 2 * width, 2 * width, joined=True)
            for width in widths[-2::-1]
        )
        self.head = convolution(2 * width, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, channels_out, ...) of an input (batch, channels_in, ...)."""
        image = x[:, :1]
        skips = []
        for level, encoder in enumerate(self.encoders):
            if level:
                x = self.pool(x)
                if self.pyramid:
                    image = self.pool(image)
                    x = torch.cat([image, x], dim=1)
            x = encoder(x)
            skips.append(x)
        x = skips.pop()
        for decoder in self.decoders:
            x = decoder(torch.cat([doubled(x), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits


class Network(nn.Module):
    """Plain U-Net on volumes, or on slices with their neighbours as channels.

    Parameters
    ----------
    channels_in : int
        1 in three dimensions; in two, how many neighbouring slices the network sees.
    channels_out : int
        Channels of the logits.
    dimensions : {2, 3}
        2: slices, 3: volumes.
    depth : int
        Levels; sizes (y and x, and z in three dimensions) must be multiples of ``2**(depth - 1)``.
    width : int
        Channels of the first convolution; they double with every level.
    normalization : {"batch", "group", "instance"}
        After every convolution; `group` has 8 groups, fewer where 8 do not divide the channels.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        dimensions: Literal[2, 3],
        depth: int,
        width: int,
        normalization: Literal["batch", "group", "instance"],
    ) -> None:
        super().__init__()
        normalize: dict[str, Normalize] = {
            "batch": BATCH_NORM[dimensions],
            "group": group_norm,
            "instance": lambda channels: INSTANCE_NORM[dimensions](channels, affine=True),
        }
        self.dimensions = dimensions
        self.unet = UNet(
            channels_in,
            channels_out,
            dimensions=dimensions,
            depth=depth,
            width=width,
            normalize=normalize[normalization],
        )

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Logits of an image (batch, 1, z, y, x).

        They are (batch, channels_out, z, y, x) in three dimensions; in two, where z are the
        neighbouring slices, (batch, channels_out, 1, y, x) for the middle one.
        """
        if self.dimensions == 2:
            return (self.unet(image.squeeze(1)).unsqueeze(2),)
        return (self.unet(image),)
