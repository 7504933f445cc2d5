"""What a recipe may say of optimisers."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from renal.settings import Share, Strict


class Adam(Strict):
    """The Adam optimiser; `kernel_l2` is a penalty on the kernels of convolutions, as Keras has."""

    name: Literal["adam"]
    learning_rate: PositiveFloat
    betas: tuple[Share, Share] = (0.9, 0.999)
    kernel_l2: NonNegativeFloat = 0.0


class Sgd(Strict):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]


Optimizer = Annotated[Adam | Sgd, Field(discriminator="name")]
