"""A fixed share of examples with foreground."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from renal.learn.datasets import Examples


class Drawing:
    """As many examples as there are, `positive_share` of them with foreground.

    Both kinds are gone through in random order, and again where there are too few.
    """

    def __init__(self, examples: "Examples", positive_share: float) -> None:
        flags = torch.tensor([examples.has_foreground(index) for index in range(len(examples))])
        self.positive, self.negative = flags.nonzero().flatten(), (~flags).nonzero().flatten()
        self.positive_share = positive_share
        self.state: dict[str, Tensor] = {}

    def order(self, epoch: int) -> list[int]:
        total = len(self.positive) + len(self.negative)
        if len(self.positive) == 0 or len(self.negative) == 0:
            return torch.randperm(total).tolist()
        count = round(total * self.positive_share)
        drawn = torch.cat([_cycled(self.positive, count), _cycled(self.negative, total - count)])
        return drawn[torch.randperm(total)].tolist()

    def record(self, indices: list[int], scores: Tensor) -> None:
        """Nothing is remembered."""

    def table(self) -> list[dict[str, Any]] | None:
        return None


def _cycled(indices: Tensor, count: int) -> Tensor:
    rounds = -(-count // len(indices))
    shuffled = [indices[torch.randperm(len(indices))] for _ in range(rounds)]
    return torch.cat(shuffled)[:count] if shuffled else indices[:0]
