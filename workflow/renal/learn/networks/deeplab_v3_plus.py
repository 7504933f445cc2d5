"""DeepLab V3+ (Chen 2018, figure 2) on a ResNet-34, in slices."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from renal.learn.networks.resnet import WIDTHS, ResNet34

# Channels that the finest features are reduced to, so that they do not outweigh the deep ones.
FINE_WIDTH = 48


def _convolution(channels_in: int, channels: int, kernel: int, rate: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, normalised and activated."""
    padding = rate * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, padding=padding, dilation=rate, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class Network(nn.Module):
    """Atrous spatial pyramid on features of a sixteenth of the size, and a small decoder.

    The backbone's last level is dilated in place of strided. Its features go through convolutions
    of several rates, and their average over the slice through one more; joined and doubled twice,
    they meet the features of a quarter of the size.

    Parameters
    ----------
    channels_in : int
        Neighbouring slices; the middle one is segmented.
    channels_out : int
        Channels of the logits.
    width : int
        Channels of the pyramid and of the decoder, 256 in the publication.
    rates : sequence of int
        Dilations of the pyramid's 3x3 convolutions, (6, 12, 18) in the publication.
    """

    def __init__(
        self, channels_in: int, channels_out: int, width: int, rates: Sequence[int]
    ) -> None:
        super().__init__()
        self.backbone = ResNet34(channels_in)
        for module in self.backbone.layer4.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
                if module.kernel_size == (3, 3):
                    module.padding = module.dilation = (2, 2)
        deep = WIDTHS[-1]
        self.pyramid = nn.ModuleList(
            [
                _convolution(deep, width, 1),
                *(_convolution(deep, width, 3, rate) for rate in rates),
            ]
        )
        # Without normalisation, which one voxel a channel has nothing for.
        self.average = nn.Sequential(nn.Conv2d(deep, width, 1), nn.ReLU(inplace=True))
        self.join = _convolution((len(rates) + 2) * width, width, 1)
        self.fine = _convolution(WIDTHS[1], FINE_WIDTH, 1)
        self.decoder = nn.Sequential(
            _convolution(width + FINE_WIDTH, width, 3),
            _convolution(width, width, 3),
            nn.Conv2d(width, channels_out, 1),
        )

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Logits (batch, channels_out, 1, y, x) of neighbouring slices (batch, 1, z, y, x)."""
        slices = image.squeeze(1)
        _, quarter, _, _, deep = self.backbone(slices)
        average = self.average(deep.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *deep.shape[2:])
        joined = self.join(torch.cat([*(branch(deep) for branch in self.pyramid), average], dim=1))
        enlarged = functional.interpolate(joined, size=quarter.shape[2:], mode="bilinear")
        logits = self.decoder(torch.cat([enlarged, self.fine(quarter)], dim=1))
        return (functional.interpolate(logits, size=slices.shape[2:], mode="bilinear")[:, :, None],)
