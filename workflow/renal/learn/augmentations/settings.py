"""What a recipe may say of augmentations."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from renal.settings import Probability, Share, Strict


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
