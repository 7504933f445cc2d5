"""What a recipe may say of how its stages' maps become one label map."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from renal.labels import KITS19
from renal.settings import Name, Share, Strict

# A stage, or one of the maps of a stage that gives several.
Place = Annotated[str, Field(pattern=rf"^[a-z][a-z0-9_]*(\.({'|'.join(KITS19.names)}))?$")]


class MergeSettings(Strict):
    """What a merge starts from: the place of a map for each of its roles."""

    maps: dict[Name, Place]

    def _require(self, needed: set[str], possible: set[str]) -> None:
        if missing := sorted(needed - set(self.maps)):
            raise ValueError(f"maps must say where {', '.join(missing)} is")
        if unknown := sorted(set(self.maps) - possible):
            raise ValueError(
                f"maps: {', '.join(unknown)}: choose from {', '.join(sorted(possible))}"
            )


class Nested(MergeSettings):
    """Regions within each other, outermost first; of `maps` each is a region."""

    name: Literal["nested"]

    @model_validator(mode="after")
    def _regions(self) -> "Nested":
        self._require({KITS19.names[0]}, set(KITS19.names))
        return self


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
        self._require({"kidney", "tumour", "within"}, {"kidney", "tumour", "within"})
        return self


Merge = Annotated[Nested | Hysteresis, Field(discriminator="name")]
