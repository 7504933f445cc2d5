"""TuNet: W-Net finds kidney and tumour, T-Net the tumour (Vu 2019, sections 2.2 and 2.3)."""

from functools import partial

import torch
from torch import Tensor, nn

from renal.learn.networks.unet import UNet, group_norm


class Network(nn.Module):
    """U-Nets end to end: each after the first sees the image and the probabilities before it.

    The paper has two. For masses between kidney and tumour another one lies between them.

    Parameters
    ----------
    channels_in : int
        Channels of the image: 1.
    channels_out : int
        2: kidney with tumour, and tumour; more for regions between them.
    width : int
        Channels of the first convolution of each net; they double with every level.
    depth : int
        Levels of each net; z, y and x must be multiples of ``2**(depth - 1)``.
    groups : int
        Groups of the normalisation, fewer where they do not divide the channels.
    pyramid : bool
        Join the shrunken image to what enters each deeper level of the encoders.
    squeeze : int or None
        Ratio of the squeeze and excitation blocks; None: without.

    Raises
    ------
    ValueError
        If `channels_out` is less than 2.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        depth: int,
        groups: int,
        pyramid: bool,
        squeeze: int | None,
    ) -> None:
        super().__init__()
        if channels_out < 2:
            raise ValueError(f"TuNet gives two channels or more, not {channels_out}")
        net = partial(
            UNet,
            channels_out=1,
            dimensions=3,
            depth=depth,
            width=width,
            normalize=partial(group_norm, groups=groups),
            pyramid=pyramid,
            squeeze=squeeze,
        )
        self.whole = net(channels_in)
        self.between = nn.ModuleList(net(channels_in + 1) for _ in range(channels_out - 2))
        self.tumour = net(channels_in + 1)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Logits (batch, channels, z, y, x), outer regions first, of (batch, 1, z, y, x)."""
        maps = [self.whole(image)]
        for net in (*self.between, self.tumour):
            # The image comes first, because it is what the net's pyramid shrinks.
            maps.append(net(torch.cat([image, maps[-1].sigmoid()], dim=1)))
        return (torch.cat(maps, dim=1),)
