"""What merging and scoring need to know of a method."""

from typing import Annotated

from pydantic import Field, PositiveInt

from renal.evaluate.merges.settings import Merge
from renal.image.settings import Components
from renal.settings import Name, Strict


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

    `grid` is the stage on whole volumes whose grid is the method's own, and `located` the one whose
    regions decide what can be found at all.
    """

    family: Name
    stages: dict[Name, MergedStage]
    merge: Merge
    grid: Name
    located: Name | None = None
