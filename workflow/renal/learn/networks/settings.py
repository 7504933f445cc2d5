"""What a recipe may say of networks, and what is known of each before it is built."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from renal.learn.networks.base_settings import NetworkSettings, Pretrained
from renal.settings import Size


class ResVNetCascade(NetworkSettings):
    """Two Res-VNets, the first at half size (networks/res_vnet_cascade.py)."""

    name: Literal["res_vnet_cascade"]
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    normalization: Literal["none", "instance"] = "none"

    outputs: ClassVar[int | None] = 1

    @property
    def kilobytes(self) -> float:
        return 1.9

    @property
    def divisor(self) -> Size:
        # Three halvings in each net, and the first net works on half the size.
        return (16, 16, 16)

    @property
    def normalizes_space(self) -> bool:
        return self.normalization == "instance"

    @property
    def unnormalized(self) -> bool:
        return self.normalization == "none"

    @property
    def has_dropout(self) -> bool:
        return self.dropout > 0


class UNet(NetworkSettings):
    """Plain U-Net in two or three dimensions (networks/unet.py)."""

    name: Literal["unet"]
    dimensions: Literal[2, 3]
    depth: Annotated[int, Field(ge=2)]
    width: PositiveInt
    normalization: Literal["batch", "group", "instance"]

    @property
    def flat(self) -> bool:
        return self.dimensions == 2

    @property
    def kilobytes(self) -> float:
        return 0.17 * self.width

    @property
    def divisor(self) -> Size:
        side = 2 ** (self.depth - 1)
        return (1 if self.flat else side, side, side)

    @property
    def normalizes_space(self) -> bool:
        return self.normalization == "instance"

    @property
    def normalizes_voxels(self) -> bool:
        return self.normalization == "batch" or self.normalizes_space

    @property
    def channels_last(self) -> bool:
        # In 3D doubling the size by nearest neighbours is for channels first alone.
        return self.flat and self.normalization == "batch"


class TuNet(NetworkSettings):
    """W-Net for the whole region, T-Net for the tumour, end to end (networks/tunet.py).

    Of more regions each has a net, outer ones first.
    """

    name: Literal["tunet"]
    width: PositiveInt
    depth: Annotated[int, Field(ge=2)]
    groups: PositiveInt
    pyramid: bool
    squeeze: PositiveInt | None = None

    cascaded: ClassVar[bool] = True

    @property
    def kilobytes(self) -> float:
        return 3.6

    @property
    def channels_last(self) -> bool:
        return False  # GroupNorm is for channels first alone

    @property
    def divisor(self) -> Size:
        return (2 ** (self.depth - 1),) * 3


class ResUNet(NetworkSettings):
    """Residual U-Net with a map after every decoder level (networks/res_unet.py)."""

    name: Literal["res_unet"]
    width: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]
    supervised: bool
    normalization: Literal["none", "instance"] = "none"

    @property
    def kilobytes(self) -> float:
        return 1.9

    @property
    def divisor(self) -> Size:
        return (8, 8, 8)

    @property
    def normalizes_space(self) -> bool:
        return self.normalization == "instance"

    @property
    def unnormalized(self) -> bool:
        return self.normalization == "none"

    @property
    def has_dropout(self) -> bool:
        return self.dropout > 0


class VNet2d5(NetworkSettings):
    """V-Net on a few neighbouring slices for the middle one (networks/vnet_2d5.py)."""

    name: Literal["vnet_2d5"]
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    multi_scale: bool
    squeeze: PositiveInt | None = None
    attention: bool
    dilations: tuple[PositiveInt, PositiveInt, PositiveInt]

    @property
    def flat(self) -> bool:
        return True

    @property
    def kilobytes(self) -> float:
        return 3.6

    @property
    def divisor(self) -> Size:
        return (1, 16, 16)

    @property
    def normalizes_voxels(self) -> bool:
        return True


class ResNet34Slices(NetworkSettings):
    """ResNet-34 that tells whether a slice holds anything (networks/resnet34_slices.py)."""

    name: Literal["resnet34_slices"]

    outputs: ClassVar[int | None] = 1
    classifies: ClassVar[bool] = True

    @property
    def flat(self) -> bool:
        return True

    @property
    def kilobytes(self) -> float:
        return 0.6

    @property
    def divisor(self) -> Size:
        return (1, 1, 1)

    @property
    def normalizes_voxels(self) -> bool:
        return True

    @property
    def deepest(self) -> Size:
        return (1, 32, 32)


class MRBUNet(NetworkSettings):
    """Encoder and decoder of multi-scale residual blocks (networks/mrb_unet.py)."""

    name: Literal["mrb_unet"]
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    alpha: PositiveFloat
    extra_up: NonNegativeInt
    normalization: Literal["batch", "instance"]

    @property
    def kilobytes(self) -> float:
        return 4.0

    @property
    def divisor(self) -> Size:
        return (2 ** (len(self.widths) - 1),) * 3

    @model_validator(mode="after")
    def _possible(self) -> "MRBUNet":
        if self.alpha * min(self.widths) < 6:
            raise ValueError("alpha times the smallest of widths must be 6 or more")
        if self.extra_up >= len(self.widths):
            raise ValueError("extra_up is more than there are decoder levels")
        return self

    @property
    def normalizes_space(self) -> bool:
        return self.normalization == "instance"

    @property
    def normalizes_voxels(self) -> bool:
        return True


class DamNet(NetworkSettings):
    """A 2D network's features adapted to 3D, beside a 2D and a 3D path (networks/dam_net.py)."""

    name: Literal["dam_net"]
    backbone: Literal["resnet34"]
    pretrained: Annotated[
        Pretrained | None, BeforeValidator(lambda given: None if given is False else given)
    ]
    rgb: Literal["repeat", "neighbours"]
    paths: Annotated[
        tuple[Literal["two_d", "three_d", "adapted"], ...], Field(min_length=1, max_length=3)
    ]
    neighbours: Annotated[int, Field(gt=0)]

    @property
    def kilobytes(self) -> float:
        return 4.0

    @property
    def divisor(self) -> Size:
        return (4, 32, 32)

    @property
    def normalizes_voxels(self) -> bool:
        return True

    @model_validator(mode="after")
    def _possible(self) -> "DamNet":
        if len(set(self.paths)) < len(self.paths):
            raise ValueError("paths must be different ones")
        if self.neighbours % 2 == 0:
            raise ValueError("neighbours must be odd")
        return self

    @property
    def weights(self) -> Pretrained | None:
        # The 3D path alone has no backbone.
        return None if set(self.paths) == {"three_d"} else self.pretrained

    @property
    def keywords(self) -> dict[str, Any]:
        return self.model_dump(exclude={"name", "pretrained"})


class DeepLabV3Plus(NetworkSettings):
    """DeepLab V3+ on a ResNet-34, in slices (networks/deeplab_v3_plus.py)."""

    name: Literal["deeplab_v3_plus"]
    width: PositiveInt
    rates: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]

    @property
    def flat(self) -> bool:
        return True

    @property
    def kilobytes(self) -> float:
        return 1.3

    @property
    def divisor(self) -> Size:
        return (1, 16, 16)

    @property
    def normalizes_voxels(self) -> bool:
        return True


Network = Annotated[
    ResVNetCascade
    | UNet
    | TuNet
    | ResUNet
    | VNet2d5
    | ResNet34Slices
    | MRBUNet
    | DamNet
    | DeepLabV3Plus,
    Field(discriminator="name"),
]
