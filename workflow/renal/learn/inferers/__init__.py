"""How a stage predicts, one module each: a recipe's ``inference.name`` names it.

Its function `infer` takes a case's images, a `Predictor` and the other keys of the recipe's
section.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

# From (batch, 1, z, y, x) on any device to (batch, maps, z, y, x) probabilities on the network's.
Predictor = Callable[["Tensor"], "Tensor"]


class Infer(Protocol):
    """What a module here provides as `infer`."""

    def __call__(
        self,
        images: list["Tensor"],
        predictor: Predictor,
        *,
        context: int,
        times: int,
        **keywords: Any,
    ) -> list["Tensor"]:
        """Probabilities (maps, z, y, x) of each region of a case, float, where its image lies.

        Parameters
        ----------
        images : list of torch.Tensor
            (z, y, x) float of each region, on any device.
        predictor : Predictor
            The network, or the mean of several.
        context : int
            How many slices a network for slices sees: one and its neighbours.
        times : int
            How many times as many images go through the network at once as the recipe says.
        """


def infer(
    images: list["Tensor"],
    predictor: Predictor,
    settings: Any,
    *,
    context: int = 1,
    times: int = 1,
) -> list["Tensor"]:
    """Probabilities of a case's regions by a recipe's `inference` section."""
    module = importlib.import_module(f"renal.learn.inferers.{settings.name}")
    function: Infer = module.infer
    keywords = settings.model_dump(exclude={"name"})
    return function(images, predictor, context=context, times=times, **keywords)
