"""In which order examples are learned from, one module each: a recipe's ``drawing.name`` names it.

Its class `Drawing` is made from the `Examples` and the other keys of the recipe's section.
"""

import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from renal.learn.datasets import Examples


class Drawing(Protocol):
    """What a class `Drawing` here does.

    Attributes
    ----------
    state : dict of str to torch.Tensor
        What it remembers, which is stored with the running state.
    """

    state: dict[str, "Tensor"]

    def order(self, epoch: int) -> list[int]:
        """Indices of an epoch's examples, drawn from torch's global generator."""

    def record(self, indices: list[int], scores: "Tensor") -> None:
        """Take the Dice of examples, (count,) float, once they were seen."""

    def table(self) -> list[dict[str, Any]] | None:
        """Rows for people, which examples were hard; None if that is not known."""


def drawing_of(settings: Any, examples: "Examples") -> Drawing:
    """The drawing that a recipe's `drawing` section describes."""
    module = importlib.import_module(f"renal.learn.drawings.{settings.name}")
    drawing: Drawing = module.Drawing(examples, **settings.model_dump(exclude={"name"}))
    return drawing
