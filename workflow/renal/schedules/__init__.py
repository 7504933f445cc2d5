"""Learning rates over the epochs, one module each: a recipe's ``schedule.name`` names it.

Its function `factor` takes the rows of history.csv so far, one for each finished epoch, and the
other keys of the recipe's section, and gives what the initial rate is multiplied by. It remembers
nothing, so a resumed run needs no state of its schedule.
"""

import importlib
from typing import Any


def learning_rate(settings: Any, history: list[dict[str, float]]) -> float:
    """Learning rate of the epoch that follows `history`, from a recipe's training section."""
    factor = importlib.import_module(f"renal.schedules.{settings.schedule.name}").factor
    keywords = settings.schedule.model_dump(exclude={"name"})
    return settings.optimizer.learning_rate * factor(history, **keywords)
