"""What a recipe may say of learning rates over the epochs."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from renal.settings import Probability, Share, Strict


class StepSchedule(Strict):
    """Multiply the learning rate by `factor` every `epochs` epochs."""

    name: Literal["step"]
    factor: Probability
    epochs: PositiveInt


class PlateauSchedule(Strict):
    """Multiply the learning rate by `factor` after `patience` epochs without a better loss."""

    name: Literal["plateau"]
    factor: Share
    patience: PositiveInt


class ConstantSchedule(Strict):
    """The learning rate as it is."""

    name: Literal["constant"]


Schedule = Annotated[StepSchedule | PlateauSchedule | ConstantSchedule, Field(discriminator="name")]
