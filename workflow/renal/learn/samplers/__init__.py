"""What a training example is, one module each: a recipe's ``sampler.name`` names it.

Its class `Sampler` is made from the other keys of the recipe's section.
"""

import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from renal.learn.datasets import Case

Place = tuple[int, ...]


class Sampler(Protocol):
    """What a class `Sampler` here does."""

    def places(self, case: "Case") -> list[Place]:
        """A case's examples of an epoch."""

    def cut(
        self, case: "Case", place: Place, generator: "torch.Generator"
    ) -> tuple["Tensor", "Tensor"]:
        """Image (z, y, x) float16 and label (z, y, x) uint8 of one of them.

        What is left to chance is drawn from the generator.
        """


def sampler_of(settings: Any) -> Sampler:
    """The sampler that a recipe's `sampler` section describes."""
    module = importlib.import_module(f"renal.learn.samplers.{settings.name}")
    sampler: Sampler = module.Sampler(**settings.model_dump(exclude={"name"}))
    return sampler
