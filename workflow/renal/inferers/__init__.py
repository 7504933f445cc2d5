"""How a stage predicts, one module each: a recipe's ``inference.name`` names it.

Its function `infer` takes an image (z, y, x) float on the CPU, a `predictor` and the other keys of
the recipe's section, and gives probabilities (maps, z, y, x) float on the CPU. The predictor takes
(batch, 1, z, y, x) and gives (batch, maps, z, y, x) probabilities, both on the device.
"""

import importlib
from collections.abc import Callable
from typing import Any

from torch import Tensor

Predictor = Callable[[Tensor], Tensor]


def infer(image: Tensor, predictor: Predictor, settings: Any, **more: Any) -> Tensor:
    """Probabilities (maps, z, y, x) of an image by a recipe's `inference` section."""
    function = importlib.import_module(f"renal.inferers.{settings.name}").infer
    return function(image, predictor, **settings.model_dump(exclude={"name"}), **more)
