"""What merging and scoring need to know of a method, and what makes rows that train nothing."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from renal.evaluate.merges.settings import Merge
from renal.image.settings import Components
from renal.settings import Name, Strict

Several = Annotated[tuple[Name, ...], Field(min_length=2)]


class ExternalFile(Strict):
    """A file that another program wrote for a case.

    In its `path` {case} is the name of the case, and * stands for anything. `labels` are the label
    values that may stand in it, and the region that each marks. A case that has another file may
    lack an `optional` one, which is then taken as empty.
    """

    path: str
    labels: Annotated[dict[Annotated[int, Field(ge=1, le=255)], Name], Field(min_length=1)]
    optional: bool = False

    @model_validator(mode="after")
    def _by_case(self) -> "ExternalFile":
        if "{case}" not in self.path:
            raise ValueError("path must hold {case}: it would be the same file for every case")
        return self


class External(Strict):
    """Segmentations that another program made.

    Of `files`, below `folder`, every case has one, or several that each hold a part of its regions.
    `others` says what further label values mean, and `missing` what a case without a file does.
    """

    folder: Path = Path(".")
    files: Annotated[tuple[ExternalFile, ...], Field(min_length=1)]
    others: Literal["refuse", "background"] = "refuse"
    missing: Literal["refuse", "empty"] = "refuse"
    trained_on_these: bool | Literal["unknown"]

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that are looked for."""
        named = (region for file in self.files for region in file.labels.values())
        return tuple(dict.fromkeys(named))


class Average(Strict):
    """The mean of other rows' probabilities, voxel by voxel on the native grid, cut at one half."""

    of: Several
    weights: tuple[PositiveFloat, ...] | None = None
    components: dict[Name, Components] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _weighted(self) -> "Average":
        if self.weights is not None and len(self.weights) != len(self.of):
            raise ValueError(f"weights: {len(self.of)} are expected, one for each of `of`")
        return self


class Vote(Strict):
    """What other rows' segmentations agree upon, voxel by voxel."""

    of: Several
    by: Literal["majority", "staple"]


class AveragedMap(Strict):
    """A map of a stage's predictions, and what it weighs; `stage` is row.stage."""

    stage: str
    channel: NonNegativeInt = 0
    weight: PositiveFloat


class Averaging(Strict):
    """The maps whose mean is a region, and how its native mask is cleaned."""

    regions: dict[Name, tuple[AveragedMap, ...]]
    components: dict[Name, Components]


class Voting(Strict):
    """The rows that vote on a region: those that look for it."""

    regions: dict[Name, tuple[Name, ...]]
    by: Literal["majority", "staple"]


class MergedStage(Strict):
    """What the merging of a method needs to know of a stage.

    `maps` are the regions that it finds, in the order of its probabilities; with `of_slices` it
    tells of whole slices whether they hold any.
    """

    maps: Annotated[tuple[Name, ...], Field(min_length=1)]
    of_slices: bool = False
    components: Components
    members: PositiveInt = 1


class Merging(Strict):
    """What decides segmentations and scores beside the stages' predictions.

    `grid` is the stage on whole volumes whose grid is the method's own; with `on_one_grid` all maps
    lie there and are merged there, too, to be scored. `located` is the stage whose regions decide
    what can be found at all. A row whose segmentations come from elsewhere has
    none of these. `regions` are those that the row looks for, where it is not all of them; others
    are not scored.
    """

    family: Name
    stages: dict[Name, MergedStage] = Field(default_factory=dict)
    merge: Merge | None = None
    grid: Name | None = None
    on_one_grid: bool = False
    located: Name | None = None
    regions: tuple[Name, ...] | None = None
