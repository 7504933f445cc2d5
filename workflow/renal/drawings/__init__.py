"""In which order examples are learned from, one module each: a recipe's ``drawing.name`` names it.

Its class `Drawing` is made from the `Examples` and the other keys of the recipe's section. `order`
gives the indices of an epoch, drawn from torch's global generator; `record` takes the Dice of the
examples once they were seen. What it remembers is its `state`, a dict of tensors, which is stored
with the running state; `table` is None, or rows for people: which examples were hard.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from renal.datasets import Examples


def drawing_of(settings: Any, examples: "Examples") -> Any:
    """The drawing that a recipe's `drawing` section describes."""
    module = importlib.import_module(f"renal.drawings.{settings.name}")
    return module.Drawing(examples, **settings.model_dump(exclude={"name"}))
