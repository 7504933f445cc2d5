"""What a recipe may say of how a stage predicts."""

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from renal.settings import Extent, Size, Strict


class InferenceSettings(Strict):
    """Traits of a way to predict.

    Attributes
    ----------
    flat : bool
        Whether it works slice by slice.
    stacks : bool
        Whether all regions of a case are seen at once, stacked along depth.
    at_once : int
        Images that the network sees at a time.
    """

    flat: ClassVar[bool] = False
    stacks: ClassVar[bool] = False

    @property
    def at_once(self) -> int:
        return 1

    @abstractmethod
    def sees(self, stacked: Extent, region: Extent) -> Extent:
        """Voxels (z, y, x) that the network sees, of all regions stacked and of one of them."""


class WholeInference(InferenceSettings):
    """The whole volume at once; several regions are stacked along depth."""

    name: Literal["whole"]

    stacks: ClassVar[bool] = True

    def sees(self, stacked: Extent, region: Extent) -> Extent:
        return stacked


class SlidingWindowInference(InferenceSettings):
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

    def sees(self, stacked: Extent, region: Extent) -> Extent:
        return self.size


class SliceInference(InferenceSettings):
    """Slice by slice, `batch` at a time, with the neighbours that training has."""

    name: Literal["slices"]
    batch: PositiveInt

    flat: ClassVar[bool] = True

    @property
    def at_once(self) -> int:
        return self.batch

    def sees(self, stacked: Extent, region: Extent) -> Extent:
        return (None, *region[1:])


class WindowInference(InferenceSettings):
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

    def sees(self, stacked: Extent, region: Extent) -> Extent:
        return (self.length, *region[1:])


Inference = Annotated[
    WholeInference | SlidingWindowInference | SliceInference | WindowInference,
    Field(discriminator="name"),
]
