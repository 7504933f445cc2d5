"""What a recipe may say of losses."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from renal.settings import Probability, Share, Strict

Over = Literal["example", "batch"]


class LossSettings(Strict):
    """Traits of a loss: whether a network's channels are exclusive classes to it."""

    @property
    def exclusive(self) -> bool:
        return False


class DiceLoss(LossSettings):
    """Soft Dice; `squared` squares the terms of the denominator.

    `smooth` is added above and below; over channels the loss is averaged or summed. It is that of
    each example, or `over` the batch, of all voxels at once.
    """

    name: Literal["dice"]
    squared: bool
    smooth: tuple[NonNegativeFloat, PositiveFloat] = (1e-5, 1e-5)
    channels: Literal["mean", "sum"] = "mean"
    over: Over = "example"


class TverskyLoss(LossSettings):
    """1 - TP / (TP + a FN + b FP): recall counts more than precision where a > b."""

    name: Literal["tversky"]
    false_negatives: PositiveFloat
    false_positives: PositiveFloat
    over: Over = "example"


class CrossEntropyLoss(LossSettings):
    """Binary cross-entropy."""

    name: Literal["cross_entropy"]


class DiceCrossEntropyLoss(LossSettings):
    """Sum of soft Dice and cross-entropy, of independent maps or of exclusive classes."""

    name: Literal["dice_cross_entropy"]
    squared: bool
    activation: Literal["sigmoid", "softmax"] = "sigmoid"

    @property
    def exclusive(self) -> bool:
        return self.activation == "softmax"


class FocalDiceLoss(LossSettings):
    """Focal loss and weighted Dice."""

    name: Literal["focal_dice"]
    gamma: NonNegativeFloat
    tumour_weight: PositiveFloat
    focal_share: Share


Loss = Annotated[
    DiceLoss | TverskyLoss | CrossEntropyLoss | DiceCrossEntropyLoss | FocalDiceLoss,
    Field(discriminator="name"),
]


class DecayingSupervision(Strict):
    """Outputs before the last one count by `weight`, times `factor` every `epochs` epochs."""

    weight: PositiveFloat
    factor: Probability
    epochs: PositiveInt
