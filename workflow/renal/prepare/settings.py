"""What a recipe may say of intensities, and what `crop_roi` needs to know."""

from typing import Annotated

from pydantic import Field, model_validator

from renal.image.settings import Components, Geometry, Regions
from renal.settings import Extent, Strict


class Intensity(Strict):
    """Median filter, window in HU, standardisation per volume, and range, in this order.

    The window's ends become the range's, or without a window the extremes of the volume. `median`
    is the side of a cube of voxels: of the stage's grid for whole volumes, of the scan for regions,
    which are brought onto their grid afterwards.
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


class RegionCrop(Strict):
    """What crop_roi needs to know: of the stage that looks, and of the mask that it starts from.

    `least` are the voxels of its own grid that the stage sees at least: a region has as many.
    """

    geometry: Geometry
    intensity: Intensity
    regions: Regions
    components: Components
    of_slices: bool = False
    outer: Regions | None = None
    least: Extent = (None, None, None)
