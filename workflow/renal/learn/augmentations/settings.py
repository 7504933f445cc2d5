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


class Affine(Strict):
    """Rotation, shift and crop in the plane, in one interpolation, with `probability`.

    The angle is up to +-`degrees`, the shift up to `shift` of the plane's size, and the part that
    is zoomed to the full size at least `crop` of each side. `fill` is as that of a rotation.
    """

    name: Literal["affine"]
    degrees: PositiveFloat
    shift: Share
    crop: Share
    probability: Probability
    fill: float | None = None


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
    Rotation | Flip | Mirror | Affine | Equalize | Blur, Field(discriminator="name")
]
