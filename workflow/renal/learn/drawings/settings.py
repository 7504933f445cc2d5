"""What a recipe may say of the order in which examples are learned from."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from renal.settings import Share, Strict


class DrawingSettings(Strict):
    """Traits of a drawing: whether it knows each example, which must then stay the same."""

    @property
    def knows_examples(self) -> bool:
        return False


class UniformDrawing(DrawingSettings):
    """Every example once an epoch, in random order."""

    name: Literal["uniform"]


class BalancedDrawing(DrawingSettings):
    """As many examples an epoch, but a share of them with foreground."""

    name: Literal["balanced"]
    positive_share: Share

    @property
    def knows_examples(self) -> bool:
        return True


class HardDrawing(DrawingSettings):
    """Examples that score badly are drawn more often.

    The weight of a unit, an example or a case, is `least` + (1 - Dice)^`strength` with its last
    Dice; weights are worked out anew every so many `epochs`.
    """

    name: Literal["hard"]
    unit: Literal["example", "case"]
    epochs: PositiveInt
    strength: PositiveFloat
    least: PositiveFloat

    @property
    def knows_examples(self) -> bool:
        return self.unit == "example"


Drawing = Annotated[UniformDrawing | BalancedDrawing | HardDrawing, Field(discriminator="name")]
