"""What a recipe may say of samplers, and what is known of the examples that each makes."""

import math
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from renal.settings import Extent, Size, Strict


class SamplerSettings(Strict):
    """Traits of a sampler.

    Attributes
    ----------
    flat : bool
        Whether examples are slices, for networks that work on slices.
    stacks : bool
        Whether all regions of a case are one example, stacked along depth.
    channels : int
        Channels of an example.
    fresh : bool
        Whether an example is another one each time it is drawn.
    moving : tuple of bool
        Along which axes (z, y, x) true regions can be moved about.
    """

    flat: ClassVar[bool] = False
    stacks: ClassVar[bool] = False

    @property
    def channels(self) -> int:
        return 1

    @property
    def fresh(self) -> bool:
        return False

    @property
    def moving(self) -> tuple[bool, bool, bool]:
        return (False, False, False)

    @abstractmethod
    def sees(self, stacked: Extent, region: Extent) -> Extent:
        """Voxels (z, y, x) of an example, of all regions stacked and of one of them."""

    @abstractmethod
    def examples(self, regions: int, size: tuple[int, int, int]) -> int:
        """How many an epoch has of a case with so many regions of `size` (z, y, x) voxels.

        Those of slices with kidney alone are taken for all of a region's, which is cut to it.
        """


class VolumeSampler(SamplerSettings):
    """Each case once an epoch; several regions are stacked along depth into one volume."""

    name: Literal["volume"]
    shuffle_regions: bool = False

    stacks: ClassVar[bool] = True

    def sees(self, stacked: Extent, region: Extent) -> Extent:
        return stacked

    def examples(self, regions: int, size: tuple[int, int, int]) -> int:
        return 1


class PatchSampler(SamplerSettings):
    """Patches of `size` voxels: all on a lattice of `stride`, or `per_case` at random places.

    A region smaller than a patch is padded with its smallest value.
    """

    name: Literal["patches"]
    size: Size
    stride: Size | None = None
    per_case: PositiveInt | None = None

    @property
    def fresh(self) -> bool:
        return self.per_case is not None

    @property
    def moving(self) -> tuple[bool, bool, bool]:
        return (self.fresh, self.fresh, self.fresh)

    @model_validator(mode="after")
    def _one_way(self) -> "PatchSampler":
        if (self.stride is None) == (self.per_case is None):
            raise ValueError("one of stride and per_case must be given")
        return self

    def sees(self, stacked: Extent, region: Extent) -> Extent:
        return self.size

    def examples(self, regions: int, size: tuple[int, int, int]) -> int:
        if self.stride is None:
            return self.per_case or 0
        steps = (
            math.ceil(max(0, length - side) / step) + 1
            for length, side, step in zip(size, self.size, self.stride, strict=True)
        )
        return regions * math.prod(steps)


class SliceSampler(SamplerSettings):
    """Every slice with its neighbours, `context` in all; with `only`, those that hold kidney."""

    name: Literal["slices"]
    context: Annotated[int, Field(gt=0)] = 1
    only: Literal["kidney"] | None = None

    flat: ClassVar[bool] = True

    @property
    def channels(self) -> int:
        return self.context

    @property
    def moving(self) -> tuple[bool, bool, bool]:
        return (True, False, False)

    @model_validator(mode="after")
    def _centred(self) -> "SliceSampler":
        if self.context % 2 == 0:
            raise ValueError("context must be odd")
        return self

    def sees(self, stacked: Extent, region: Extent) -> Extent:
        return (self.context, *region[1:])

    def examples(self, regions: int, size: tuple[int, int, int]) -> int:
        return regions * size[0]


class WindowSampler(SamplerSettings):
    """`length` consecutive slices at a random place, `per_case` times in each region.

    With `around` the place is drawn from the slices that hold kidney, and `extend` more slices on
    both sides.
    """

    name: Literal["windows"]
    length: PositiveInt
    around: Literal["kidney"] | None = None
    extend: NonNegativeInt = 0
    per_case: PositiveInt = 1

    @property
    def fresh(self) -> bool:
        return True

    def sees(self, stacked: Extent, region: Extent) -> Extent:
        return (self.length, *region[1:])

    def examples(self, regions: int, size: tuple[int, int, int]) -> int:
        return regions * self.per_case


Sampler = Annotated[
    VolumeSampler | PatchSampler | SliceSampler | WindowSampler, Field(discriminator="name")
]
