"""What a recipe says of nnU-Net: what its plans depend on, and what its trainings add to that."""

from typing import Any, Literal

from pydantic import Field, PositiveInt, field_validator

from renal.settings import Strict


class Planning(Strict):
    """What decides data set, plans and preprocessed cases; rows that have it alike share them.

    With `regions` nnU-Net learns the regions that are scored, which overlap, in place of label
    values. `changes` are put over the configuration that the planner found, key by key; below its
    `architecture` they may hold no text, which nnU-Net takes for names of what to import and call.
    """

    planner: Literal[
        "ExperimentPlanner", "nnUNetPlannerResEncM", "nnUNetPlannerResEncL", "nnUNetPlannerResEncXL"
    ]
    configuration: Literal["2d", "3d_lowres", "3d_fullres"]
    regions: bool = False
    changes: dict[str, Any] = Field(default_factory=dict)

    @field_validator("changes")
    @classmethod
    def _data_alone(cls, changes: dict[str, Any]) -> dict[str, Any]:
        if _holds_text(changes.get("architecture")):
            raise ValueError("architecture: a name of code; numbers alone can be changed here")
        return changes


def _holds_text(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    return any(map(_holds_text, value)) if isinstance(value, list) else isinstance(value, str)


class Learning(Strict):
    """What decides a training beside its plans.

    `mirroring` is that of the augmentation, which prediction then repeats along all axes.
    """

    epochs: PositiveInt
    iterations: PositiveInt = 250
    mirroring: bool = True


class NnUNet(Strict):
    """A row that nnU-Net plans and trains."""

    planning: Planning
    training: Learning
