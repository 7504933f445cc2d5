"""What goes through a network at once."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Place = TypeVar("Place")


def batches(places: Sequence[Place], size: int) -> Iterator[Sequence[Place]]:
    """Some of a case's places at a time, in order; the last may be fewer."""
    for first in range(0, len(places), size):
        yield places[first : first + size]


def stacked(parts: list[Tensor]) -> Tensor:
    """(batch, 1, z, y, x) from (z, y, x) each; of one, without a copy."""
    return parts[0][None, None] if len(parts) == 1 else torch.stack(parts)[:, None]
