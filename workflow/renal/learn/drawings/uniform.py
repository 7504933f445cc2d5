"""Every example once an epoch."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from renal.learn.datasets import Examples


class Drawing:
    """All examples in random order."""

    def __init__(self, examples: "Examples") -> None:
        self.count = len(examples)
        self.state: dict[str, Tensor] = {}

    def order(self, epoch: int) -> list[int]:
        return torch.randperm(self.count).tolist()

    def record(self, indices: list[int], scores: Tensor) -> None:
        """Nothing is remembered."""

    def table(self) -> list[dict[str, Any]] | None:
        return None
