"""Learning rates over the epochs, one module each: a recipe's ``schedule.name`` names it.

Its function `factor` remembers nothing, so a resumed run needs no state of its schedule.
"""

import importlib
from typing import Any, Protocol


class Factor(Protocol):
    """What a module here provides as `factor`."""

    def __call__(self, history: list[dict[str, float]], **keywords: Any) -> float:
        """What the initial rate is multiplied by, from the rows of history.csv so far.

        There is a row for each finished epoch; `keywords` are the other keys of the recipe's
        section.
        """


def learning_rate(settings: Any, history: list[dict[str, float]]) -> float:
    """Learning rate of the epoch that follows `history`, from a recipe's training section."""
    module = importlib.import_module(f"renal.learn.schedules.{settings.schedule.name}")
    factor: Factor = module.factor
    keywords = settings.schedule.model_dump(exclude={"name"})
    rate: float = settings.optimizer.learning_rate
    return rate * factor(history, **keywords)
