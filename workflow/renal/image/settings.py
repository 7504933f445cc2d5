"""What a recipe may say of grids, bodies, components and regions of interest."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from renal.settings import Lengths, Name, Strict


class Body(Strict):
    """How the body is found on the middle slice."""

    threshold_hu: float
    opening_mm: PositiveFloat


class Geometry(Strict):
    """The grid of a stage over the volume, the body or a region; every tuple is (z, y, x).

    An axis has a number of voxels from `size`, or of mm from `spacing`, or else those of the scan.
    With `extent_mm` the grid covers this length, centred on the volume, or the volume where that
    is longer; what lies outside of the volume has its smallest HU. `interpolation` chooses nothing:
    it has a recipe say what its paper chose.
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


class Runs(Strict):
    """How slices that hold something become one range, in mm.

    A median over `smooth` comes first, then gaps of up to `bridge` are closed. The range spans all
    runs of at least `least`, or the longest where none is.
    """

    smooth: NonNegativeFloat = 0
    bridge: NonNegativeFloat = 0
    least: NonNegativeFloat = 0


class Components(Strict):
    """Which connected components of a stage's native mask are kept.

    `minimum_voxels` are the scan's own, or those of a grid of `counted_on` (z, y, x) voxels over
    the whole scan; null: as many as that has. `runs` is for stages that tell which slices hold
    something.
    """

    minimum_voxels: NonNegativeInt = 0
    counted_on: tuple[PositiveInt | None, PositiveInt | None, PositiveInt | None] | None = None
    keep: PositiveInt | None = None
    runs: Runs | None = None
