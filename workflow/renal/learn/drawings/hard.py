"""Hard examples more often."""

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from renal.learn.datasets import Examples


class Drawing:
    """As many examples as there are, drawn with replacement by how badly they were segmented.

    The weight of an example, or of all examples of a case, is ``least + (1 - Dice) ** strength``
    with the Dice that it had when it was last seen; before it was seen, as if that were 0.

    Parameters
    ----------
    examples : Examples
        What is drawn from.
    unit : {"example", "case"}
        What has a weight: an example by itself, or a case by the mean of its examples.
    epochs : int
        How often weights are worked out anew; until the first time all are equal.
    strength, least : float
        See above; `least` is what an example without fault weighs.
    """

    def __init__(
        self,
        examples: "Examples",
        unit: Literal["example", "case"],
        epochs: int,
        strength: float,
        least: float,
    ) -> None:
        self.examples = examples
        self.unit = unit
        self.epochs = epochs
        self.strength = strength
        self.least = least
        self.cases = torch.tensor([number for number, _ in examples.entries])
        count = len(examples)
        self.state = {
            "dice": torch.zeros(count, dtype=torch.float64),
            "weight": torch.ones(count, dtype=torch.float64),
        }

    def order(self, epoch: int) -> list[int]:
        if epoch and epoch % self.epochs == 0:
            dice = self._mean_of_case() if self.unit == "case" else self.state["dice"]
            self.state["weight"] = self.least + (1 - dice) ** self.strength
        weights = self.state["weight"]
        return torch.multinomial(weights, len(weights), replacement=True).tolist()

    def record(self, indices: list[int], scores: Tensor) -> None:
        """Remember the Dice of some examples, (count,) in the order of `indices`."""
        # Of an example that was drawn twice the last counts, which torch does not promise.
        self.state["dice"].numpy()[indices] = scores.double().cpu().numpy()

    def table(self) -> list[dict[str, Any]]:
        """One row an example: its case and place, its last Dice and the weight it was drawn with.

        The hardest case comes first, by the mean Dice of its examples, and in it the hardest.
        """
        columns = {"case_dice": self._mean_of_case(), **self.state}
        order = sorted(
            range(len(self.examples)),
            key=lambda i: (columns["case_dice"][i], self.cases[i], columns["dice"][i]),
        )
        rows = []
        for index in order:
            number, place = self.examples.entries[index]
            row = {"case": self.examples.cases[number].name, "place": " ".join(map(str, place))}
            rows.append(row | {key: f"{values[index]:.4f}" for key, values in columns.items()})
        return rows

    def _mean_of_case(self) -> Tensor:
        """The mean Dice of each example's case, (examples,) float64."""
        dice = self.state["dice"]
        sums = torch.zeros(len(self.examples.cases), dtype=dice.dtype)
        counts = torch.bincount(self.cases, minlength=len(sums)).clamp(min=1)
        return (sums.index_add(0, self.cases, dice) / counts)[self.cases]
