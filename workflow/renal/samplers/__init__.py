"""What a training example is, one module each: a recipe's ``sampler.name`` names it.

Its class `Sampler` is made from the other keys of the recipe's section. `places` lists a case's
examples of an epoch; `cut` takes one of them out of the case, drawing what is left to chance from a
generator: image (z, y, x) float16 and label (z, y, x) uint8.
"""

import importlib
from typing import Any

Place = tuple[int, ...]


def sampler_of(settings: Any) -> Any:
    """The sampler that a recipe's `sampler` section describes."""
    module = importlib.import_module(f"renal.samplers.{settings.name}")
    return module.Sampler(**settings.model_dump(exclude={"name"}))
