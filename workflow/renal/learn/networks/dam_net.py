"""2D network, 3D network and the bridge between them, fused (Chen 2019, figures 1 and 2).

The layers of the paths and of the modules are not published; what is, stands in the docstrings.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from renal.errors import InputError
from renal.learn.networks.resnet import WIDTHS, ResNet34

BACKBONES = {"resnet34": ResNet34}
COLOUR_MEAN = (0.485, 0.456, 0.406)  # of ImageNet's images, whose values lie in [0, 1]
COLOUR_DEVIATION = (0.229, 0.224, 0.225)

FULL_SIZE_WIDTH = 16
ADAPTED_WIDTHS = tuple(width // 2 for width in WIDTHS)
VOLUME_WIDTHS = (16, 32, 64, 128)
# Most scans' slices lie several times farther apart than their pixels: one halving is in-plane.
VOLUME_STRIDES = ((1, 2, 2), (2, 2, 2), (2, 2, 2))
SLICE_STRIDES = ((1, 2, 2),) * len(WIDTHS)
SLICE_KERNEL = (1, 3, 3)
VOLUME_KERNEL = (3, 3, 3)

Size = tuple[int, int, int]


def _convolution(channels_in: int, channels: int, kernel: Size) -> nn.Sequential:
    """A convolution that keeps the size, normalised and activated."""
    depth, height, width = kernel
    padding = (depth // 2, height // 2, width // 2)
    return nn.Sequential(
        nn.Conv3d(channels_in, channels, kernel, padding=padding, bias=False),
        nn.BatchNorm3d(channels),
        nn.ReLU(inplace=True),
    )


class Decoder(nn.Module):
    """From the deepest features up to the finest, joining those of every level.

    Parameters
    ----------
    widths : sequence of int
        Channels of the levels, finest first.
    strides : sequence of (z, y, x)
        By how much each level is larger than the next deeper one, finest first.
    kernel : (z, y, x)
        Of the convolutions. One slice deep, they are 2D convolutions slice by slice.
    """

    def __init__(self, widths: Sequence[int], strides: Sequence[Size], kernel: Size) -> None:
        super().__init__()
        self.ups = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for (width, deeper), stride in reversed(list(zip(pairwise(widths), strides, strict=True))):
            self.ups.append(nn.ConvTranspose3d(deeper, width, stride, stride=stride, bias=False))
            self.blocks.append(_convolution(2 * width, width, kernel))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Features of the finest level's shape; `levels` has the finest first."""
        x = levels[-1]
        for up, block, skip in zip(self.ups, self.blocks, levels[-2::-1], strict=True):
            x = block(torch.cat([up(x), skip], dim=1))
        return x


class DimensionAdaptation(nn.Module):
    """Dimension adaptation module: 2D features of stacked slices become 3D ones.

    It captures the interdependencies of adjacent slices (Chen 2019, section 2). The features,
    reduced to `channels`, are convolved across neighbouring slices. Each channel of each slice
    is then weighted by what the averages of that slice and its neighbours say, as in
    squeeze-and-excitation, and added to the 2D features.

    Parameters
    ----------
    channels_in, channels : int
        Channels of the 2D and of the 3D features.
    neighbours : int
        Slices that a convolution joins, odd.
    """

    def __init__(self, channels_in: int, channels: int, neighbours: int) -> None:
        super().__init__()
        squeezed = channels // 4
        self.reduce = _convolution(channels_in, channels, (1, 1, 1))
        self.join = _convolution(channels, channels, (neighbours, 3, 3))
        self.weigh = nn.Sequential(
            nn.Conv1d(channels, squeezed, neighbours, padding=neighbours // 2),
            nn.ReLU(inplace=True),
            nn.Conv1d(squeezed, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, channels, z, y, x) of (batch, channels_in, z, y, x)."""
        reduced: Tensor = self.reduce(features)
        joined: Tensor = self.join(reduced)
        weights: Tensor = self.weigh(joined.mean(dim=(3, 4)))
        return reduced + joined * weights[..., None, None]


class SlicePath(nn.Module):
    """The 2D path: a decoder of the backbone's features, slice by slice."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.full_size = _convolution(channels_in, FULL_SIZE_WIDTH, SLICE_KERNEL)
        self.decoder = Decoder((FULL_SIZE_WIDTH, *WIDTHS), SLICE_STRIDES, SLICE_KERNEL)

    def forward(self, image: Tensor, features: Sequence[Tensor]) -> Tensor:
        decoded: Tensor = self.decoder([self.full_size(image), *features])
        return decoded


class AdaptedPath(nn.Module):
    """The path between: an adaptation module at every level, then a decoder in 3D."""

    def __init__(self, channels_in: int, neighbours: int) -> None:
        super().__init__()
        self.full_size = _convolution(channels_in, FULL_SIZE_WIDTH, VOLUME_KERNEL)
        self.adaptations = nn.ModuleList(
            DimensionAdaptation(flat, adapted, neighbours)
            for flat, adapted in zip(WIDTHS, ADAPTED_WIDTHS, strict=True)
        )
        self.decoder = Decoder((FULL_SIZE_WIDTH, *ADAPTED_WIDTHS), SLICE_STRIDES, VOLUME_KERNEL)

    def forward(self, image: Tensor, features: Sequence[Tensor]) -> Tensor:
        adapted = [adapt(level) for adapt, level in zip(self.adaptations, features, strict=True)]
        decoded: Tensor = self.decoder([self.full_size(image), *adapted])
        return decoded


class VolumePath(nn.Module):
    """The 3D path: a light 3D U-Net on the image."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(
            nn.Sequential(
                _convolution(before, width, VOLUME_KERNEL),
                _convolution(width, width, VOLUME_KERNEL),
            )
            for before, width in pairwise((channels_in, *VOLUME_WIDTHS))
        )
        self.pools = nn.ModuleList(nn.MaxPool3d(stride) for stride in VOLUME_STRIDES)
        self.decoder = Decoder(VOLUME_WIDTHS, VOLUME_STRIDES, VOLUME_KERNEL)

    def forward(self, image: Tensor, _features: Sequence[Tensor]) -> Tensor:
        levels = [self.encoders[0](image)]
        for pool, encoder in zip(self.pools, self.encoders[1:], strict=True):
            levels.append(encoder(pool(levels[-1])))
        decoded: Tensor = self.decoder(levels)
        return decoded


class Network(nn.Module):
    """Three paths on one image and the fusion decision module that joins their features.

    The 2D path and the adapted one share the features of a backbone pretrained on photographs;
    the 3D path sees the image alone. Each path has logits of its own, so that all learn in
    parallel; the fusion module concatenates their features and convolves them in 3D. A single path
    has nothing to be fused with.

    Parameters
    ----------
    channels_in : int
        Channels of the image: 1.
    channels_out : int
        Number of classes.
    backbone : {"resnet34"}
        The 2D network.
    rgb : {"repeat", "neighbours"}
        What the backbone gets as colours: the slice three times, or the slices before it, itself
        and after it; the first and last slices of a patch are their own neighbours.
    paths : sequence of {"two_d", "three_d", "adapted"}
        The paths whose features are fused.
    neighbours : int
        Slices that an adaptation module's convolutions join, odd.
    """

    colour_mean: Tensor
    colour_deviation: Tensor

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        backbone: str,
        rgb: str,
        paths: Sequence[str],
        neighbours: int,
    ) -> None:
        super().__init__()
        self.rgb = rgb
        alone = set(paths) == {"three_d"}
        self.backbone = None if alone else BACKBONES[backbone](channels_in=3)
        build: dict[str, Callable[[], nn.Module]] = {
            "two_d": lambda: SlicePath(channels_in),
            "three_d": lambda: VolumePath(channels_in),
            "adapted": lambda: AdaptedPath(channels_in, neighbours),
        }
        self.paths = nn.ModuleDict({path: build[path]() for path in paths})
        self.heads = nn.ModuleList(nn.Conv3d(FULL_SIZE_WIDTH, channels_out, 1) for _ in paths)
        if len(paths) > 1:
            self.fusion = nn.Sequential(
                _convolution(len(paths) * FULL_SIZE_WIDTH, FULL_SIZE_WIDTH, VOLUME_KERNEL),
                _convolution(FULL_SIZE_WIDTH, FULL_SIZE_WIDTH, VOLUME_KERNEL),
                nn.Conv3d(FULL_SIZE_WIDTH, channels_out, 1),
            )
        for name, colours in (
            ("colour_mean", COLOUR_MEAN),
            ("colour_deviation", COLOUR_DEVIATION),
        ):
            # No model holds them: on the CPU though the network may be made without memory.
            values = torch.tensor(colours, device="cpu").view(3, 1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Logits of each path, in their order, and the fused ones of several.

        Parameters
        ----------
        image : torch.Tensor
            (batch, 1, z, y, x) in [-1, 1]; z a multiple of 4, y and x of 32.

        Returns
        -------
        tuple of torch.Tensor
            (batch, channels_out, z, y, x) each, the fused ones last.
        """
        stacked: list[Tensor] = []
        if self.backbone is not None:
            colours = self._colours(image).transpose(1, 2)
            levels = self.backbone(colours.flatten(0, 1))
            stacked = [level.unflatten(0, colours.shape[:2]).transpose(1, 2) for level in levels]
        features = [path(image, stacked) for path in self.paths.values()]
        logits = [head(feature) for head, feature in zip(self.heads, features, strict=True)]
        fused = [self.fusion(torch.cat(features, dim=1))] if len(features) > 1 else []
        return *logits, *fused

    def load_pretrained(self, state: Mapping[str, Tensor]) -> None:
        """Take the backbone's weights from a standard state dict of it.

        Parameters
        ----------
        state : mapping of str to torch.Tensor
            Entries of torchvision's weight file. Those of its classifier, ``fc``, are not used,
            and the counters ``num_batches_tracked`` may be absent, as in files from before they
            existed.

        Raises
        ------
        InputError
            An entry is missing, unknown or of another shape. Nothing is loaded then.
        """
        assert self.backbone is not None, "the 3D path alone begins with no weights"
        own = self.backbone.state_dict()
        given = {name: value for name, value in state.items() if not name.startswith("fc.")}
        for name, value in own.items():
            if name not in given and name.endswith("num_batches_tracked"):
                given[name] = value
            elif name not in given:
                raise InputError(f"pretrained weights lack {name}: not a ResNet-34 of torchvision")
            elif given[name].shape != value.shape:
                raise InputError(
                    f"pretrained weights: {name} has shape {tuple(given[name].shape)} in place "
                    f"of {tuple(value.shape)}: not a ResNet-34 of torchvision"
                )
        for name in given:
            if name not in own:
                raise InputError(
                    f"pretrained weights: unknown entry {name}: not a ResNet-34 of torchvision"
                )
        self.backbone.load_state_dict(given)

    def _colours(self, image: Tensor) -> Tensor:
        """What the backbone sees, (batch, 3, z, y, x): CT values on the scale of ImageNet's."""
        if self.rgb == "neighbours":
            before = torch.cat([image[:, :, :1], image[:, :, :-1]], dim=2)
            after = torch.cat([image[:, :, 1:], image[:, :, -1:]], dim=2)
            colours = torch.cat([before, image, after], dim=1)
        else:
            colours = image.expand(-1, 3, -1, -1, -1)
        return ((colours + 1) / 2 - self.colour_mean) / self.colour_deviation
