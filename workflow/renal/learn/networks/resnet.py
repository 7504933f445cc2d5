"""ResNet-34 (He et al. 2016, table 1), the 2D network that several methods build on."""

from torch import Tensor, nn

WIDTHS = (64, 64, 128, 256, 512)  # of the five feature maps, finest first
BLOCKS = (3, 4, 6, 3)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is projected where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu(residual + self.downsample(x))
        return result


class ResNet34(nn.Module):
    """The convolutions of ResNet-34, without its classifier.

    Parameters and buffers have the names of torchvision's weight files.

    Parameters
    ----------
    channels_in : int
        Channels of the image, 3 for the published weights.
    """

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(WIDTHS[0], WIDTHS[1], BLOCKS[0], stride=1)
        self.layer2 = _layer(WIDTHS[1], WIDTHS[2], BLOCKS[1], stride=2)
        self.layer3 = _layer(WIDTHS[2], WIDTHS[3], BLOCKS[2], stride=2)
        self.layer4 = _layer(WIDTHS[3], WIDTHS[4], BLOCKS[3], stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Five feature maps of images (batch, channels_in, y, x).

        Returns
        -------
        tuple of torch.Tensor
            (batch, width, y / s, x / s) for each of `WIDTHS` with s = 2, 4, 8, 16, 32.
        """
        stem = self.relu(self.bn1(self.conv1(image)))
        first = self.layer1(self.maxpool(stem))
        second = self.layer2(first)
        third = self.layer3(second)
        return stem, first, second, third, self.layer4(third)


def _layer(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks of one width; the first changes the shape."""
    return nn.Sequential(
        BasicBlock(channels_in, channels, stride),
        *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)),
    )
