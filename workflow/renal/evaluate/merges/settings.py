"""What a recipe may say of how its stages' maps become one label map."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from renal.settings import Name, Share, Strict

# A stage, or one of the maps of a stage that gives several.
Place = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9]*)?$")]


class MergeSettings(Strict):
    """What a merge starts from: the place of a map for each of its roles."""

    maps: dict[Name, Place]

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that it finds."""
        return tuple(role for role in self.maps if role != "within")


class Nested(MergeSettings):
    """Regions within each other, outermost first.

    Of `maps` each is a region, but for `within`, whose mask cuts all of them.
    """

    name: Literal["nested"]


class KidneyGrowth(Strict):
    """Lower thresholds to grow the kidney to: always, or where it is empty."""

    default: Share
    empty: Share


class TumourGrowth(Strict):
    """Lower thresholds to grow the tumour to: always, where it is small, or where it is empty."""

    default: Share
    small: Share
    empty: Share


class Hysteresis(MergeSettings):
    """Region growing by hysteresis with fall-backs (Vu 2019, algorithm 1).

    `maps` are kidney and tumour, and `within`, whose mask cuts both.
    """

    name: Literal["hysteresis"]
    threshold: Share
    kidney_growth: KidneyGrowth
    tumour_growth: TumourGrowth
    small_voxels: PositiveInt

    @model_validator(mode="after")
    def _roles(self) -> "Hysteresis":
        roles = {"kidney", "tumour", "within"}
        if missing := sorted(roles - set(self.maps)):
            raise ValueError(f"maps must say where {', '.join(missing)} is")
        if unknown := sorted(set(self.maps) - roles):
            raise ValueError(f"maps: {', '.join(unknown)}: choose from {', '.join(sorted(roles))}")
        return self


Merge = Annotated[Nested | Hysteresis, Field(discriminator="name")]
