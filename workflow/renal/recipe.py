"""Recipes and configuration: typed, and checked before anything runs.

Nothing here imports torch, because every planning of the workflow reads it. A step receives only
the part of a recipe that it uses, so that a change re-runs the steps it concerns and no others.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from renal.errors import InputError
from renal.targets import channels_of, maps_of

METHODS = Path(__file__).resolve().parents[1] / "methods"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Role = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.(whole|tumour))?$")]
Extent = tuple[int | None, int | None, int | None]
Size = tuple[PositiveInt, PositiveInt, PositiveInt]
Lengths = tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat]
Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(gt=0, le=1)]
# What a stage learns to find: one map or several, three exclusive classes, or whether a slice
# holds anything at all.
Target = (
    Literal["whole", "tumour", "classes", "slices"]
    | Annotated[tuple[Literal["whole", "tumour"], ...], Field(min_length=1)]
)


# Folders that the results folder and a method's folder hold beside those of methods and stages.
RESERVED = (
    *("all", "benchmarks", "body", "cases", "logs", "normalized", "report", "resampled"),
    *("segmented", "tables", "true_roi"),
    *("merged", "pictures", "scores", "segmentation", "submission"),
)


class Strict(BaseModel):
    """A section in which an unknown key is an error."""

    # Settings reach the steps as JSON, which has no infinity and no NaN.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# -- What a stage sees ---------------------------------------------------------------------


class Body(Strict):
    """How the body is found on the middle slice."""

    threshold_hu: float
    opening_mm: PositiveFloat


class Geometry(Strict):
    """The grid of a stage over the volume, the body or a region; every tuple is (z, y, x).

    An axis has a number of voxels from `size`, or of mm from `spacing`, or else those of the scan.
    With `extent_mm` the grid covers this length, centred on the volume, or the volume where that
    is longer; what lies outside of the volume has its smallest HU.
    """

    size: tuple[PositiveInt | None, PositiveInt | None, PositiveInt | None] | None = None
    spacing: tuple[PositiveFloat | None, PositiveFloat | None, PositiveFloat | None] | None = None
    extent_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    body: Body | None = None
    interpolation: Literal["linear"] = "linear"

    @property
    def sizes(self) -> tuple[int | None, int | None, int | None]:
        """Voxels of each axis, None where the scan decides."""
        return self.size or (None, None, None)

    @property
    def spacings(self) -> tuple[float | None, float | None, float | None]:
        """Voxel spacing of each axis in mm, None where size or scan decide."""
        return self.spacing or (None, None, None)

    @model_validator(mode="after")
    def _unambiguous(self) -> "Geometry":
        if any(size and spacing for size, spacing in zip(self.sizes, self.spacings, strict=True)):
            raise ValueError("size and spacing are given for the same axis")
        if self.extent_mm is not None and (self.body is not None or None in self.sizes):
            raise ValueError("extent_mm needs a size for every axis, and no body")
        return self


class Intensity(Strict):
    """Median filter, window in HU, standardisation per volume, and range, in this order.

    `median` is the side of a cube of voxels of the stage's grid.
    """

    median: Annotated[int, Field(ge=3)] | None = None
    window: tuple[float, float] | None = None
    standardize: bool = False
    rescale: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Intensity":
        if self.median is not None and self.median % 2 == 0:
            raise ValueError("median must be odd")
        for name in ("window", "rescale"):
            pair = getattr(self, name)
            if pair is not None and pair[0] >= pair[1]:
                raise ValueError(f"{name} must be [low, high] with low < high")
        return self


class Regions(Strict):
    """Regions of interest from the components of an earlier stage's mask, largest first.

    Boxes are widened by the margins. Along axes not in `axes` they cover what the earlier stage
    looked at. With `join` there is one box round all components. Where true regions are learned
    from, each side is moved by up to `jitter_mm` whenever an example is drawn.

    With `mask`, what is outside of the mask becomes 0 in the normalised image, or `masked_hu` in
    the scan before it is normalised.
    """

    stage: Name
    count: PositiveInt = 1
    repeat: bool = False
    join: bool = False
    axes: tuple[Literal["z", "y", "x"], ...] = ("z", "y", "x")
    margin_voxels: NonNegativeInt = 0
    margin_mm: Lengths = (0, 0, 0)
    jitter_mm: Lengths = (0, 0, 0)
    mask: bool = False
    masked_hu: int | None = None

    @model_validator(mode="after")
    def _masked(self) -> "Regions":
        if self.masked_hu is not None and not self.mask:
            raise ValueError("masked_hu needs mask: true")
        return self


class Components(Strict):
    """Which connected components of a stage's native mask are kept.

    `smooth_slices` is for stages that tell which slices hold something: a median filter over so
    many slices comes first, and components are runs of slices.
    """

    minimum_voxels: NonNegativeInt = 0
    keep: PositiveInt | None = None
    smooth_slices: PositiveInt | None = None


class RegionCrop(Strict):
    """What crop_roi needs to know: of the stage that looks, and of the mask that it starts from."""

    geometry: Geometry
    intensity: Intensity
    regions: Regions
    components: Components
    of_slices: bool = False
    outer: Regions | None = None


# -- How a stage learns ---------------------------------------------------------------------


class VolumeSampler(Strict):
    """Each case once an epoch; several regions are stacked along depth into one volume."""

    name: Literal["volume"]
    shuffle_regions: bool = False

    def sees(self, stacked: Extent, _: Extent) -> Extent:
        return stacked


class PatchSampler(Strict):
    """Patches of `size` voxels: all on a lattice of `stride`, or `per_case` at random places.

    What is smaller than a patch is padded with its smallest value.
    """

    name: Literal["patches"]
    size: Size
    stride: Size | None = None
    per_case: PositiveInt | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "PatchSampler":
        if (self.stride is None) == (self.per_case is None):
            raise ValueError("one of stride and per_case must be given")
        return self

    def sees(self, _stacked: Extent, _region: Extent) -> Extent:
        return self.size


class SliceSampler(Strict):
    """Every slice with its neighbours, `context` in all; with `only`, those that hold kidney."""

    name: Literal["slices"]
    context: Annotated[int, Field(gt=0)] = 1
    only: Literal["kidney"] | None = None

    @model_validator(mode="after")
    def _centred(self) -> "SliceSampler":
        if self.context % 2 == 0:
            raise ValueError("context must be odd")
        return self

    def sees(self, _: Extent, region: Extent) -> Extent:
        return (self.context, *region[1:])


class WindowSampler(Strict):
    """`length` consecutive slices of each case at a random place.

    With `around` the place is drawn from the slices that hold kidney, and `extend` more slices on
    both sides.
    """

    name: Literal["windows"]
    length: PositiveInt
    around: Literal["kidney"] | None = None
    extend: NonNegativeInt = 0

    def sees(self, _: Extent, region: Extent) -> Extent:
        return (self.length, *region[1:])


class UniformDrawing(Strict):
    """Every example once an epoch, in random order."""

    name: Literal["uniform"]


class BalancedDrawing(Strict):
    """As many examples an epoch, but a share of them with foreground."""

    name: Literal["balanced"]
    positive_share: Share


class HardDrawing(Strict):
    """Examples that score badly are drawn more often.

    The weight of a unit, an example or a case, is `least` + (1 - Dice)^`strength` with its last
    Dice; weights are worked out anew every so many `epochs`.
    """

    name: Literal["hard"]
    unit: Literal["example", "case"]
    epochs: PositiveInt
    strength: PositiveFloat
    least: PositiveFloat


# Of a network's class, beside its keys: how many channels it gives where that is fixed, whether it
# works on slices, what its input's size (z, y, x) must be multiples of, and how many kB of memory a
# voxel of a batch takes in training, measured on a CPU in bfloat16 at the width of the recipe.


class ResVNetCascade(Strict):
    """Two Res-VNets, the first at half size (networks/res_vnet_cascade.py)."""

    name: Literal["res_vnet_cascade"]
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    normalization: Literal["none", "instance"] = "none"

    outputs: ClassVar[int | None] = 1
    flat: ClassVar[bool] = False
    kilobytes: ClassVar[float] = 1.9

    # Three halvings in each net, and the first net works on half the size.
    divisor: ClassVar[Size] = (16, 16, 16)


class UNet(Strict):
    """Plain U-Net in two or three dimensions (networks/unet.py)."""

    name: Literal["unet"]
    dimensions: Literal[2, 3]
    depth: Annotated[int, Field(ge=2)]
    width: PositiveInt
    normalization: Literal["batch", "group", "instance"]

    outputs: ClassVar[int | None] = None

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


class TuNet(Strict):
    """W-Net for the whole region, T-Net for the tumour, end to end (networks/tunet.py)."""

    name: Literal["tunet"]
    width: PositiveInt
    depth: Annotated[int, Field(ge=2)]
    groups: PositiveInt
    pyramid: bool
    squeeze: PositiveInt | None = None

    outputs: ClassVar[int | None] = 2
    flat: ClassVar[bool] = False
    kilobytes: ClassVar[float] = 3.6

    @property
    def divisor(self) -> Size:
        return (2 ** (self.depth - 1),) * 3


class ResUNet(Strict):
    """Residual U-Net with a map after every decoder level (networks/res_unet.py)."""

    name: Literal["res_unet"]
    width: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]
    supervised: bool

    outputs: ClassVar[int | None] = None
    flat: ClassVar[bool] = False
    kilobytes: ClassVar[float] = 1.9
    divisor: ClassVar[Size] = (8, 8, 8)


class VNet2d5(Strict):
    """V-Net on a few neighbouring slices for the middle one (networks/vnet_2d5.py)."""

    name: Literal["vnet_2d5"]
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    multi_scale: bool
    squeeze: PositiveInt | None = None
    attention: bool
    dilations: tuple[PositiveInt, PositiveInt, PositiveInt]

    outputs: ClassVar[int | None] = None
    flat: ClassVar[bool] = True
    kilobytes: ClassVar[float] = 3.6
    divisor: ClassVar[Size] = (1, 16, 16)


class ResNet34Slices(Strict):
    """ResNet-34 that tells whether a slice holds anything (networks/resnet34_slices.py)."""

    name: Literal["resnet34_slices"]

    outputs: ClassVar[int | None] = 1
    flat: ClassVar[bool] = True
    kilobytes: ClassVar[float] = 0.6
    divisor: ClassVar[Size] = (1, 1, 1)


class MRBUNet(Strict):
    """Encoder and decoder of multi-scale residual blocks (networks/mrb_unet.py)."""

    name: Literal["mrb_unet"]
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    alpha: PositiveFloat
    extra_up: NonNegativeInt
    normalization: Literal["batch", "instance"]

    outputs: ClassVar[int | None] = None
    flat: ClassVar[bool] = False
    kilobytes: ClassVar[float] = 4.0

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


class Pretrained(Strict):
    """Weights to begin with: where they lie, from where they come, and their SHA-256.

    Eight or more of its first digits: those are part of the names of PyTorch's files.
    """

    file: Path
    url: Annotated[str, Field(pattern=r"^https://[^\s'\"]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]


class DamNet(Strict):
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

    outputs: ClassVar[int | None] = None
    flat: ClassVar[bool] = False
    kilobytes: ClassVar[float] = 4.0
    divisor: ClassVar[Size] = (4, 32, 32)

    @model_validator(mode="after")
    def _possible(self) -> "DamNet":
        if len(set(self.paths)) < len(self.paths) or set(self.paths) == {"three_d"}:
            raise ValueError("paths must be different ones, with two_d or adapted among them")
        if self.neighbours % 2 == 0:
            raise ValueError("neighbours must be odd")
        return self


Network = Annotated[
    ResVNetCascade | UNet | TuNet | ResUNet | VNet2d5 | ResNet34Slices | MRBUNet | DamNet,
    Field(discriminator="name"),
]


class DiceLoss(Strict):
    """Soft Dice; `squared` squares the terms of the denominator.

    `smooth` is added above and below; over channels the loss is averaged or summed.
    """

    name: Literal["dice"]
    squared: bool
    smooth: tuple[NonNegativeFloat, PositiveFloat] = (1e-5, 1e-5)
    channels: Literal["mean", "sum"] = "mean"


class TverskyLoss(Strict):
    """1 - TP / (TP + a FN + b FP): recall counts more than precision where a > b."""

    name: Literal["tversky"]
    false_negatives: PositiveFloat
    false_positives: PositiveFloat


class CrossEntropyLoss(Strict):
    """Binary cross-entropy."""

    name: Literal["cross_entropy"]


class DiceCrossEntropyLoss(Strict):
    """Sum of soft Dice and cross-entropy, of independent maps or of exclusive classes."""

    name: Literal["dice_cross_entropy"]
    squared: bool
    activation: Literal["sigmoid", "softmax"] = "sigmoid"


class FocalDiceLoss(Strict):
    """Focal loss and weighted Dice."""

    name: Literal["focal_dice"]
    gamma: NonNegativeFloat
    tumour_weight: PositiveFloat
    focal_share: Share


Loss = Annotated[
    DiceLoss | TverskyLoss | CrossEntropyLoss | DiceCrossEntropyLoss | FocalDiceLoss,
    Field(discriminator="name"),
]


class DecayingSupervision(Strict):
    """Outputs before the last one count by `weight`, times `factor` every `epochs` epochs."""

    weight: PositiveFloat
    factor: Probability
    epochs: PositiveInt


class Adam(Strict):
    """The Adam optimiser; `kernel_l2` is a penalty on the kernels of convolutions, as Keras has."""

    name: Literal["adam"]
    learning_rate: PositiveFloat
    betas: tuple[Share, Share] = (0.9, 0.999)
    kernel_l2: NonNegativeFloat = 0.0


class Sgd(Strict):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]


class StepSchedule(Strict):
    """Multiply the learning rate by `factor` every `epochs` epochs."""

    name: Literal["step"]
    factor: Probability
    epochs: PositiveInt


class PlateauSchedule(Strict):
    """Multiply the learning rate by `factor` after `patience` epochs without a better loss."""

    name: Literal["plateau"]
    factor: Share
    patience: PositiveInt


class ConstantSchedule(Strict):
    """The learning rate as it is."""

    name: Literal["constant"]


class Stopping(Strict):
    """Stop after `patience` epochs without a better loss, or below a learning rate."""

    patience: PositiveInt
    minimum_rate: PositiveFloat | None = None


class Validation(Strict):
    """A share of the training cases that is not learned from, but watched.

    Its loss steers schedule and stopping; `keep` says whether the model of the best or of the last
    epoch is kept.
    """

    share: Share
    keep: Literal["best", "last"]


class Rotation(Strict):
    """Rotation in the plane of the slices by an angle drawn uniformly from +-`degrees`.

    `fill` is what the normalised image has outside; without it, the smallest value of each image.
    """

    name: Literal["rotation"]
    degrees: PositiveFloat
    fill: float | None = None


class Flip(Strict):
    """Mirroring about one axis drawn at random, with `probability`."""

    name: Literal["flip"]
    probability: Probability


class Mirror(Strict):
    """Mirroring about all of `axes` at once, with `probability`."""

    name: Literal["mirror"]
    axes: Annotated[tuple[Literal["z", "y", "x"], ...], Field(min_length=1)]
    probability: Probability


class Translation(Strict):
    """Shift in the plane by up to `share` of its size."""

    name: Literal["translation"]
    share: Share
    fill: float | None = None


class Crop(Strict):
    """A part of the plane, at least `share` of each side, zoomed to the full size."""

    name: Literal["crop"]
    share: Share


class Equalize(Strict):
    """Equalised histogram, with `probability`."""

    name: Literal["equalize"]
    probability: Probability
    fill: float | None = None


class Blur(Strict):
    """Gaussian blur in the plane, `sigma` in voxels, with `probability`."""

    name: Literal["blur"]
    sigma: PositiveFloat
    probability: Probability


Augmentation = Annotated[
    Rotation | Flip | Mirror | Translation | Crop | Equalize | Blur, Field(discriminator="name")
]


class Training(Strict):
    """Everything that decides a trained model, apart from the data.

    `gpus` share every batch of `batch_size` examples.
    """

    target: Target
    sampler: Annotated[
        VolumeSampler | PatchSampler | SliceSampler | WindowSampler, Field(discriminator="name")
    ] = VolumeSampler(name="volume")
    drawing: Annotated[
        UniformDrawing | BalancedDrawing | HardDrawing, Field(discriminator="name")
    ] = UniformDrawing(name="uniform")
    network: Network
    loss: Loss
    supervision: DecayingSupervision | None = None
    optimizer: Annotated[Adam | Sgd, Field(discriminator="name")]
    schedule: Annotated[
        StepSchedule | PlateauSchedule | ConstantSchedule, Field(discriminator="name")
    ]
    epochs: PositiveInt
    stopping: Stopping | None = None
    validation: Validation | None = None
    batch_size: PositiveInt
    gpus: PositiveInt = 1
    augmentation: tuple[Augmentation, ...] = ()

    @property
    def channels_in(self) -> int:
        """Channels of the network's input: a slice and its neighbours, or one."""
        return self.sampler.context if isinstance(self.sampler, SliceSampler) else 1

    @model_validator(mode="after")
    def _fitting(self) -> "Training":
        flat, slices = self.network.flat, isinstance(self.sampler, SliceSampler)
        if flat != slices:
            kind = "slices" if flat else "volumes"
            raise ValueError(f"sampler {self.sampler.name}: {self.network.name} learns from {kind}")
        outputs = len(channels_of(self.target))
        if self.network.outputs not in (None, outputs):
            raise ValueError(
                f"target {self.target!r} is {outputs} channels, "
                f"but {self.network.name} gives {self.network.outputs}"
            )
        if (self.target == "slices") != isinstance(self.network, ResNet34Slices):
            raise ValueError("target slices goes with network resnet34_slices, and with it alone")
        softmax = getattr(self.loss, "activation", "sigmoid") == "softmax"
        if softmax != (self.target == "classes"):
            raise ValueError("target classes goes with a loss whose activation is softmax")
        random = getattr(self.sampler, "per_case", None) is not None
        if random and getattr(self.drawing, "unit", "case") == "example":
            raise ValueError("drawing.unit must be case: patches per_case are new ones each time")
        return self


# -- How a stage predicts -------------------------------------------------------------------


class WholeInference(Strict):
    """The whole volume at once; several regions are stacked along depth."""

    name: Literal["whole"]

    def sees(self, stacked: Extent, _: Extent) -> Extent:
        return stacked


class SlidingWindowInference(Strict):
    """Patches that overlap by so many voxels, averaged evenly or with Gaussian weights."""

    name: Literal["sliding_window"]
    size: Size
    overlap: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]
    weighting: Literal["uniform", "gaussian"]

    @model_validator(mode="after")
    def _moving(self) -> "SlidingWindowInference":
        if any(o >= s for o, s in zip(self.overlap, self.size, strict=True)):
            raise ValueError("overlap must be smaller than size")
        return self

    def sees(self, _stacked: Extent, _region: Extent) -> Extent:
        return self.size


class SliceInference(Strict):
    """Slice by slice, `batch` at a time, with the neighbours that training has."""

    name: Literal["slices"]
    batch: PositiveInt

    def sees(self, _: Extent, region: Extent) -> Extent:
        return (None, *region[1:])


class WindowInference(Strict):
    """Windows of `length` slices every `step`, of which the slices `keep` are kept.

    The first window keeps the volume's beginning too, the last one its end.
    """

    name: Literal["windows"]
    length: PositiveInt
    step: PositiveInt
    keep: tuple[NonNegativeInt, PositiveInt]

    @model_validator(mode="after")
    def _covering(self) -> "WindowInference":
        first, last = self.keep
        if last - first != self.step or last > self.length:
            raise ValueError("keep must be `step` slices within `length`")
        return self

    def sees(self, _: Extent, region: Extent) -> Extent:
        return (self.length, *region[1:])


Inference = Annotated[
    WholeInference | SlidingWindowInference | SliceInference | WindowInference,
    Field(discriminator="name"),
]


class Stage(Strict):
    """One trained step of a method: what it sees, how it learns, predicts, and is cleaned."""

    geometry: Geometry
    intensity: Intensity
    regions: Regions | None = None
    training: Training
    inference: Inference = WholeInference(name="whole")
    components: Components = Components()

    @property
    def seen(self) -> list[Extent]:
        """Voxels (z, y, x) that the network sees when it learns and when it predicts."""
        region = self.geometry.sizes
        count = self.regions.count if self.regions else 1
        stacked = (region[0] and region[0] * count, *region[1:])
        return [part.sees(stacked, region) for part in (self.training.sampler, self.inference)]

    @model_validator(mode="after")
    def _possible(self) -> "Stage":
        regions, training = self.regions, self.training
        if regions is not None:
            if self.geometry.body is not None or self.geometry.extent_mm is not None:
                raise ValueError("geometry: body and extent_mm are for whole volumes, not regions")
            stacked = training.sampler.name == "volume"
            random = training.sampler.name == "slices" or getattr(
                training.sampler, "per_case", None
            )
            if any(regions.jitter_mm) and not random:
                raise ValueError(
                    "regions.jitter_mm is for sampler slices, or patches with per_case"
                )
            if any(regions.jitter_mm[1:]) and training.sampler.name == "slices":
                raise ValueError("regions.jitter_mm of slices must be [z, 0, 0]: they are not cut")
            if regions.count > 1 and stacked and not regions.repeat:
                raise ValueError(
                    "regions.repeat must be true where regions.count is more than 1: "
                    "cases with fewer regions would be stacks of another size"
                )
            if stacked != (self.inference.name == "whole"):
                raise ValueError("sampler volume and inference whole go together with regions")
        if (self.inference.name == "slices") != training.network.flat:
            raise ValueError(f"inference {self.inference.name} is not for {training.network.name}")
        if self.components.smooth_slices is not None and training.target != "slices":
            raise ValueError("components.smooth_slices is for a stage whose target is slices")
        for size in self.seen:
            self._check_size(size)
        return self

    def _check_size(self, size: Extent) -> None:
        network = self.training.network
        parts = list(zip("zyx", size, network.divisor, strict=True))
        for axis, length, divisor in parts:
            if length is None and not (axis == "z" and network.flat):
                raise ValueError(f"geometry.size must say how long axis {axis} is")
            if length is not None and length % divisor:
                raise ValueError(
                    f"geometry.size, patch or window give the network {list(size)} voxels, but "
                    f"{network.name} needs multiples of {divisor} along {axis}"
                )
        normalization = getattr(network, "normalization", None)
        if normalization == "instance" and all(
            length is None or length <= divisor for _, length, divisor in parts
        ):
            raise ValueError(
                f"geometry.size gives the network {list(size)} voxels, one at its deepest level, "
                "which instance normalisation cannot normalise: use a larger size"
            )


# -- What a method makes of its stages --------------------------------------------------------


class Member(Strict):
    """A stage taken from other recipes, by its own name there; several are averaged voxel by voxel.

    `components` replaces theirs.
    """

    of: Annotated[tuple[Name, ...], Field(min_length=1)]
    components: Components | None = None


class TumourWithinWhole(Strict):
    """Tumour = whole AND tumour mask, kidney = whole without tumour (Hao 2019, eq. 3 and 4)."""

    name: Literal["tumour_within_whole"]
    whole: Role
    tumour: Role

    @property
    def roles(self) -> dict[str, str]:
        return {"whole": self.whole, "tumour": self.tumour}


class WholeGrowth(Strict):
    """Lower thresholds to grow the whole region to: always, or where it is empty."""

    default: Share
    empty: Share


class TumourGrowth(Strict):
    """Lower thresholds to grow the tumour to: always, where it is small, or where it is empty."""

    default: Share
    small: Share
    empty: Share


class Hysteresis(Strict):
    """Region growing by hysteresis with fall-backs (Vu 2019, algorithm 1)."""

    name: Literal["hysteresis"]
    whole: Role
    tumour: Role
    within: Role
    threshold: Share
    whole_growth: WholeGrowth
    tumour_growth: TumourGrowth
    small_voxels: PositiveInt

    @property
    def roles(self) -> dict[str, str]:
        return {"whole": self.whole, "tumour": self.tumour, "within": self.within}


Merge = Annotated[TumourWithinWhole | Hysteresis, Field(discriminator="name")]


class Published(Strict):
    """A figure from the paper: mean Dice and, where given, its SD over folds."""

    kidney: tuple[float, float | None] | None = None
    tumour: tuple[float, float | None] | None = None
    composite: tuple[float, float | None] | None = None
    grid: Literal["native", "resampled"]
    where: str


class Method(Strict):
    """One row of the tables: a recipe from `workflow/methods`."""

    family: Name
    title: str
    members: dict[Name, Member] = {}
    stages: dict[Name, Stage] = {}
    merge: Merge
    published: Published | None = None

    @model_validator(mode="after")
    def _stages_exist(self) -> "Method":
        earlier: list[str] = list(self.members)
        for name, stage in self.stages.items():
            if name in RESERVED:
                raise ValueError(f"stages.{name}: results of another kind have this name")
            if name in self.members:
                raise ValueError(f"stages.{name}: a member has this name: set one of them to null")
            if stage.regions is not None and stage.regions.stage not in earlier:
                raise ValueError(
                    f"stages.{name}.regions.stage is {stage.regions.stage!r}, "
                    f"not an earlier stage ({', '.join(earlier) or 'none'})"
                )
            earlier.append(name)
        for role, place in self.merge.roles.items():
            if place.partition(".")[0] not in earlier:
                raise ValueError(f"merge.{role} is not a stage ({', '.join(earlier)})")
        return self


# -- What a user edits ------------------------------------------------------------------------


def _without_braces(path: Path) -> Path:
    if set("{}") & set(str(path)):
        raise ValueError("Snakemake takes braces for wildcards: use a path without { and }")
    return path


Folder = Annotated[Path, AfterValidator(_without_braces)]


class Data(Strict):
    """Where the cases lie, and which of them are left out."""

    root: Folder
    exclude: tuple[str, ...] = ()
    maximum_voxels: PositiveInt


class Folds(Strict):
    """How many folds there are, and the seed that deals the cases to them."""

    count: Annotated[int, Field(ge=2)]
    seed: int


class Compute(Strict):
    """Cores of a rule, and numerical settings that the models depend on."""

    prepare_threads: PositiveInt
    train_threads: PositiveInt
    predict_threads: PositiveInt
    bfloat16_on_cpu: bool
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # with the epoch's number it must fit 64 bits


class Configuration(Strict):
    """config.yaml."""

    data: Data
    results: Folder
    methods: Annotated[tuple[Name, ...], Field(min_length=1)]
    folds: Folds
    batch_size: PositiveInt
    compute: Compute
    overrides: dict[Name, dict[str, Any]] = {}


def check_configuration(values: dict[str, Any]) -> Configuration:
    """Check the merged configuration.

    Raises
    ------
    InputError
        With the key, what it holds and what was expected.
    """
    configuration = _validated(Configuration, values, "config.yaml")
    for name in configuration.methods:
        if name in RESERVED:
            raise InputError(
                f"config.yaml: methods: {name}: results of another kind have this name"
            )
        if configuration.methods.count(name) > 1:
            raise InputError(f"config.yaml: methods: {name} is named twice: name it once")
    return configuration


def check_sizes(configuration: Configuration, methods: dict[str, Method]) -> None:
    """Refuse a grid of more voxels than the largest volume that is read.

    Raises
    ------
    InputError
        With the method and stage.
    """
    limit = configuration.data.maximum_voxels
    for name, method in methods.items():
        for stage_name, stage in method.stages.items():
            for size in (stage.geometry.sizes, *stage.seen):
                voxels = math.prod(length or 1 for length in size)
                if voxels > limit:
                    raise InputError(
                        f"config.yaml: stage {stage_name} of {name} has a grid of {voxels} voxels, "
                        f"more than data.maximum_voxels ({limit}): choose a smaller size"
                    )


def check_precision(configuration: Configuration, methods: dict[str, Method]) -> None:
    """Refuse grids on which torch 2.13's bfloat16 convolutions on the CPU are wrong.

    Where depth has come down to two slices, the gradient of a 3x3x3 convolution is not the same
    twice and at times not a number.

    Raises
    ------
    InputError
        With the method and stage.
    """
    for name, method in methods.items() if configuration.compute.bfloat16_on_cpu else ():
        for stage_name, stage in method.stages.items():
            network = stage.training.network
            depth = min(size[0] or math.inf for size in stage.seen)
            if not network.flat and depth < 3 * network.divisor[0]:
                raise InputError(
                    f"config.yaml: compute.bfloat16_on_cpu: stage {stage_name} of {name} is "
                    f"{depth} slices deep, too few for bfloat16 without a GPU: set it to false"
                )


def load_methods(configuration: Configuration) -> dict[str, Method]:
    """The recipes of all rows by name, and after them those that they only take stages from.

    Raises
    ------
    InputError
        With the file and key of the fault, and what was expected.
    """
    recipes: dict[str, Method] = {}
    waiting = [(name, "config.yaml: methods") for name in configuration.methods]
    while waiting:
        name, source = waiting.pop(0)
        if name not in recipes:
            overrides = configuration.overrides.get(name, {})
            recipes[name] = load_method(name, overrides, source=source)
            for stage, member in recipes[name].members.items():
                source = f"workflow/methods/{name}.yaml: members.{stage}.of"
                waiting += [(of, source) for of in member.of]
    unused = sorted(set(configuration.overrides) - set(recipes))
    if unused:
        raise InputError(
            f"config.yaml: overrides.{unused[0]}: no such method in `methods` "
            f"({', '.join(configuration.methods)}): add it there or remove the override"
        )
    for name, method in recipes.items():
        _check_members(recipes, name, method)
    return recipes


def _check_members(recipes: dict[str, Method], name: str, method: Method) -> None:
    source = f"workflow/methods/{name}.yaml"
    for stage in method.members:
        _check_origin(recipes, stage, (name,))
        regions = stage_of(recipes, name, stage).regions
        if regions is not None and regions.stage not in {**method.stages, **method.members}:
            raise InputError(
                f"{source}: members.{stage}: it looks at regions of stage {regions.stage}, "
                f"which is none here: add members.{regions.stage}"
            )
        owners = owners_of(recipes, name, stage)
        alike = {
            (
                settings_hash(part.geometry, part.regions),
                part.training.target,
                part.regions and owners_of(recipes, owner, part.regions.stage),
            )
            for owner, part in ((owner, recipes[owner].stages[stage]) for owner in owners)
        }
        if len(alike) > 1:
            raise InputError(
                f"{source}: members.{stage}.of: {', '.join(owners)} differ in geometry, target, "
                "or regions and who finds them, so their voxels cannot be averaged: make them alike"
            )
    for stage_name, stage in method.stages.items():
        if stage.regions and len(owners_of(recipes, name, stage.regions.stage)) > 1:
            raise InputError(
                f"{source}: stages.{stage_name}.regions.stage: regions come from one model, not "
                f"from the mean of several: name one in members.{stage.regions.stage}.of"
            )
        if (
            stage.regions
            and stage.regions.mask
            and region_crop(recipes, name, stage_name).of_slices
        ):
            raise InputError(
                f"{source}: stages.{stage_name}.regions.mask: stage {stage.regions.stage} tells "
                "slices, which are no mask: leave it out"
            )
    for role, place in method.merge.roles.items():
        stage, _, channel = place.partition(".")
        maps = maps_of(stage_of(recipes, name, stage).training.target)
        if (channel and channel not in maps) or (not channel and len(maps) > 1):
            choice = ", ".join(f"{stage}.{known}" for known in maps)
            raise InputError(f"{source}: merge.{role} is {place!r}: choose from {choice}")


def _check_origin(recipes: dict[str, Method], stage: str, path: tuple[str, ...]) -> None:
    """Refuse members that lead to a recipe without the stage, or round in a circle."""
    name = path[-1]
    for of in recipes[name].members[stage].of if stage in recipes[name].members else ():
        source = f"workflow/methods/{name}.yaml: members.{stage}.of"
        if of in path:
            circle = " -> ".join((*path, of))
            raise InputError(f"{source}: no recipe trains it ({circle}): break the circle")
        if stage not in {**recipes[of].stages, **recipes[of].members}:
            raise InputError(f"{source}: {of} has no stage {stage}: mend it")
        _check_origin(recipes, stage, (*path, of))


def owners_of(recipes: dict[str, Method], method: str, stage: str) -> tuple[str, ...]:
    """The methods whose models make a stage of `method`: itself, or those that it takes it from."""
    if stage in recipes[method].stages:
        return (method,)
    return tuple(
        owner
        for member in recipes[method].members[stage].of
        for owner in owners_of(recipes, member, stage)
    )


def stage_of(recipes: dict[str, Method], method: str, stage: str) -> Stage:
    """A stage of `method`, its own or the first of those that it takes from other recipes."""
    member = recipes[method].members.get(stage)
    if member is None:
        return recipes[method].stages[stage]
    taken = stage_of(recipes, member.of[0], stage)
    if member.components is None:
        return taken
    return taken.model_copy(update={"components": member.components})


def load_method(
    name: str,
    overrides: dict[str, Any],
    folder: Path = METHODS,
    source: str = "config.yaml: methods",
) -> Method:
    """Read a recipe, with what it extends beneath it and `overrides` from config.yaml on top.

    Parameters
    ----------
    name : str
        The recipe's name.
    overrides : dict
        What config.yaml changes of it.
    folder : Path
        Where recipes lie.
    source : str
        File and key that ask for it, for the message if there is none.

    Raises
    ------
    InputError
        With the file and key of the fault, and what was expected.
    """
    values = _extended(name, folder, source, ())
    source = f"workflow/methods/{name}.yaml"
    if overrides:
        # Checked first without the overrides, so that the fault is laid at the right door.
        _validated(Method, values, source)
        source = f"config.yaml: overrides.{name}"
    return _validated(Method, merged(values, overrides), source)


def _extended(name: str, folder: Path, source: str, seen: tuple[str, ...]) -> dict[str, Any]:
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise InputError(f"{source}: no recipe {name!r}: choose from {known}")
    if name in seen:
        raise InputError(f"{path}: extends itself ({' -> '.join((*seen, name))}): break the circle")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML ({place}): mend it") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a mapping of keys is expected: see docs/adding-a-method.md")
    base = values.pop("extends", None)
    if base is not None:
        values = merged(_extended(base, folder, f"{path}: extends", (*seen, name)), values)
    # What is set to null is not taken over from the recipe beneath.
    for section in ("stages", "members"):
        if isinstance(values.get(section), dict):
            values[section] = {k: v for k, v in values[section].items() if v is not None}
    return values


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, key by key through nested mappings.

    A component of another name replaces the one beneath it: its keys are not the same.
    """
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            same = value.get("name", below.get("name")) == below.get("name")
            result[key] = merged(below, value) if same else value
        else:
            result[key] = value
    return result


def _validated(model: type[BaseModel], values: Any, source: str) -> Any:
    try:
        taken = model.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = _key_of(fault, values)
            given = f" (is {fault['input']!r})" if fault["type"] != "missing" and key else ""
            message = fault["msg"].removeprefix("Value error, ")
            if fault["type"] == "extra_forbidden":
                message, given = "unknown key", ""
            if fault["type"] == "union_tag_invalid":
                key, given = f"{key}.name", f" (is {fault['ctx']['tag']!r})"
                message = f"choose from {fault['ctx']['expected_tags']}"
            faults.append(f"{key}: {message}"[:300] + given[:80] if key else message)
        raise InputError(f"{source}: {'; '.join(faults)}: mend it") from error
    for key, given in _taken_for_numbers(values, taken.model_dump()):
        raise InputError(f"{source}: {key}: a number is expected (is {given!r}): mend it")
    return taken


def _taken_for_numbers(given: Any, taken: Any, key: str = "") -> Iterator[tuple[str, bool]]:
    """Keys of true and false that pydantic took for 1 and 0."""
    if isinstance(given, bool) and type(taken) in (int, float):
        yield key.removeprefix("."), given
    elif isinstance(given, dict) and isinstance(taken, dict):
        for name in given:
            yield from _taken_for_numbers(given[name], taken.get(name), f"{key}.{name}")
    elif isinstance(given, list | tuple) and isinstance(taken, list | tuple):
        for number, pair in enumerate(zip(given, taken, strict=False)):
            yield from _taken_for_numbers(*pair, f"{key}.{number}")


def _key_of(fault: ErrorDetails, values: Any) -> str:
    """The key of a fault in `values`, without the kinds of component that pydantic puts into it."""
    key, here = [], values
    for number, part in enumerate(fault["loc"], start=1):
        known = range(len(here)) if isinstance(here, list) else here
        if isinstance(here, dict | list) and part in known:
            key.append(str(part))
            here = here[part]
        elif fault["type"] == "missing" and number == len(fault["loc"]):
            key.append(str(part))
    return ".".join(key)


def region_crop(recipes: dict[str, Method], method: str, stage: str) -> RegionCrop:
    """What crop_roi needs to know for a stage of `method` that looks at predicted regions."""
    looking = recipes[method].stages[stage]
    earlier = stage_of(recipes, method, looking.regions.stage)
    # Along an axis that is not cut, true regions must reach as far as predicted ones do.
    outer = earlier.regions if len(looking.regions.axes) < 3 else None
    return RegionCrop(
        geometry=looking.geometry,
        intensity=looking.intensity,
        # Jitter is for true regions.
        regions=looking.regions.model_copy(update={"jitter_mm": (0, 0, 0)}),
        components=earlier.components,
        of_slices=earlier.training.target == "slices",
        outer=outer,
    )


def true_region_crop(recipes: dict[str, Method], method: str, stage: str) -> RegionCrop:
    """What crop_roi needs to know for the true regions that a stage of `method` learns from."""
    crop = region_crop(recipes, method, stage)
    return crop.model_copy(update={"regions": recipes[method].stages[stage].regions})


# Parts of a recipe that single steps use: what is left out of them does not re-run the step.


class Prediction(Strict):
    """What decides a stage's prediction beside its models."""

    network: Network
    target: Target
    channels_in: PositiveInt = 1
    inference: Inference = WholeInference(name="whole")


class MergedStage(Strict):
    """What the merging of a method needs to know of a stage."""

    target: Target
    components: Components
    members: PositiveInt = 1


class Merging(Strict):
    """What decides segmentations and scores beside the stages' predictions.

    `grid` is the stage on whole volumes whose grid is the method's own, and `located` the one whose
    regions decide what can be found at all.
    """

    family: Name
    stages: dict[Name, MergedStage]
    merge: Merge
    grid: Name
    located: Name | None = None


class Row(Strict):
    """What the tables say about a method."""

    family: Name
    title: str
    published: Published | None
    validated: bool = False


def prediction(stage: Stage) -> Prediction:
    """The part of a stage that prediction uses."""
    training = stage.training
    return Prediction(
        network=training.network,
        target=training.target,
        channels_in=training.channels_in,
        inference=stage.inference,
    )


def merging(recipes: dict[str, Method], method: str) -> Merging:
    """The part of a recipe that merging and scoring use."""
    merge = recipes[method].merge
    names = dict.fromkeys(place.partition(".")[0] for place in merge.roles.values())
    found = {name: stage_of(recipes, method, name) for name in names}
    stages = {
        name: MergedStage(
            target=stage.training.target,
            components=stage.components,
            members=len(owners_of(recipes, method, name)),
        )
        for name, stage in found.items()
    }
    grid, looking = next(iter(found.items()))
    while looking.regions is not None:
        grid, looking = looking.regions.stage, stage_of(recipes, method, looking.regions.stage)
    tumour = merge.tumour.partition(".")[0]
    regions = found[tumour].regions
    # A mask loses more than its box does; what is left of it is what the scores show.
    located = tumour if regions is not None and not regions.mask else None
    return Merging(
        family=recipes[method].family, stages=stages, merge=merge, grid=grid, located=located
    )


def row(recipes: dict[str, Method], method: str) -> Row:
    """The part of a recipe that the tables use."""
    settings = recipes[method]
    names = [*settings.stages, *settings.members]
    validated = any(stage_of(recipes, method, name).training.validation for name in names)
    return Row(
        family=settings.family,
        title=settings.title,
        published=settings.published,
        validated=validated,
    )


def as_values(settings: BaseModel) -> dict[str, Any]:
    """Settings as plain values for JSON, without those that are at their default.

    A schema that grows by an optional key then changes neither the hashes nor the parameters of
    steps that do not use it, so nothing runs again.
    """
    return settings.model_dump(mode="json", exclude_defaults=True)


def settings_hash(*parts: BaseModel | None) -> str:
    """Eight hexadecimal digits that differ when any setting does."""
    values = [None if part is None else as_values(part) for part in parts]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
