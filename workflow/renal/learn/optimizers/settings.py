"""What a recipe may say of optimisers."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from renal.settings import Share, Strict

# No method learns at more than 1, and what a step at far more gives cannot be stored.
LearningRate = Annotated[float, Field(gt=0, le=1000)]


class OptimizerSettings(Strict):
    """Traits of an optimiser: how many numbers it keeps for each parameter."""

    states: ClassVar[int]


class Adam(OptimizerSettings):
    """The Adam optimiser; `kernel_l2` is a penalty on the kernels of convolutions, as Keras has."""

    name: Literal["adam"]
    learning_rate: LearningRate
    betas: tuple[Share, Share] = (0.9, 0.999)
    kernel_l2: NonNegativeFloat = 0.0

    states: ClassVar[int] = 2  # the running means of the gradient and of its square


class Sgd(OptimizerSettings):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: LearningRate
    momentum: Annotated[float, Field(ge=0, lt=1)]

    states: ClassVar[int] = 1  # the momentum


Optimizer = Annotated[Adam | Sgd, Field(discriminator="name")]
