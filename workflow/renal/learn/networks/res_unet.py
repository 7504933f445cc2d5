"""3D ResUNet with deep supervision, which finds the kidneys (msvnet, section 2.1)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from renal.learn.networks.on_cpu import PReLU
from renal.learn.networks.res_vnet_cascade import ConvolutionBlock

ENCODER_DILATIONS = ((1, 1), (1, 1, 1), (1, 2, 4), (3, 4, 5))
DECODER_CONVOLUTIONS = (3, 3, 3, 2)


def _initialised(layer: nn.Module) -> None:
    """As public code begins: He's normal weights for a leaky slope of a quarter, no biases.

    Nothing normalises here, and from torch's own beginning logits differ by some hundredths.
    """
    if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(layer.weight, 0.25)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _activated(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, PReLU(channels))


class Network(nn.Module):
    """Residual encoder and decoder of four levels each, with a map after every decoder level.

    Strided convolutions lead down, transposed ones up, the deep encoder blocks are dilated, and
    each block's input is added to its output.

    Parameters
    ----------
    channels_in : int
        Channels of the image: 1.
    channels_out : int
        Channels of the logits.
    width : int
        Channels of the first block; they double with every level. Sizes must be multiples of 8.
    dropout : float
        Share of activations dropped after every block but the first and the last.
    supervised : bool
        A map after each of the four decoder levels, all of which are learnt from; otherwise one
        after the last.
    normalization : {"none", "instance"}
        Within the blocks.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int,
        dropout: float,
        supervised: bool,
        normalization: str = "none",
    ) -> None:
        super().__init__()
        self.dropout = dropout
        widths = [width * 2**level for level in range(len(ENCODER_DILATIONS))]
        self.encoders = nn.ModuleList(
            ConvolutionBlock(entering, width, dilations, normalization)
            for entering, width, dilations in zip(
                [channels_in, *widths[1:]], widths, ENCODER_DILATIONS, strict=True
            )
        )
        self.downs = nn.ModuleList(
            _activated(nn.Conv3d(width, wider, 2, stride=2), wider)
            for width, wider in pairwise(widths)
        )
        bottom = 2 * widths[-1]
        self.bottom = _activated(nn.Conv3d(widths[-1], bottom, 3, padding=1), bottom)
        self.ups = nn.ModuleList()
        self.decoders = nn.ModuleList(
            [ConvolutionBlock(widths[-1], bottom, (1,) * DECODER_CONVOLUTIONS[0], normalization)]
        )
        for width, skip, count in zip(
            widths[:0:-1], widths[-2::-1], DECODER_CONVOLUTIONS[1:], strict=True
        ):
            self.ups.append(_activated(nn.ConvTranspose3d(2 * width, width, 2, stride=2), width))
            self.decoders.append(ConvolutionBlock(width + skip, width, (1,) * count, normalization))
        self.maps = nn.ModuleList(
            nn.Conv3d(width, channels_out, 1)
            for width in ([bottom, *widths[:0:-1]] if supervised else widths[1:2])
        )
        self.apply(_initialised)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits of an image (batch, 1, z, y, x), from the coarsest level to the finest.

        All are (batch, channels_out, z, y, x): those of coarser levels are interpolated.
        """
        # The image's only channel is added to all of the first block.
        x = self.encoders[0](image) + image
        skips = [x]
        for down, encoder in zip(self.downs, self.encoders[1:], strict=True):
            x = down(x)
            x = self._dropped(encoder(x) + x)
            skips.append(x)
        x = self._dropped(self.decoders[0](skips.pop()) + self.bottom(x))
        levels = [x]
        for up, decoder in zip(self.ups, self.decoders[1:], strict=True):
            x = up(x)
            x = decoder(torch.cat([x, skips.pop()], dim=1)) + x
            if skips:
                x = self._dropped(x)
            levels.append(x)
        return tuple(
            functional.interpolate(to_map(level), size=image.shape[2:], mode="trilinear")
            for to_map, level in zip(self.maps, levels[-len(self.maps) :], strict=True)
        )

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)
