"""GPUs, and how long operators take on them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from renal.costs.step import Operator

# By so much nnU-Net's published epochs on an A100 exceed the same account of its steps. What is
# expected by it is good to a factor of two.
FACTOR, UNCERTAINTY = 3.6, 2


@dataclass(frozen=True)
class Card:
    """A GPU as its vendor states it.

    Attributes
    ----------
    name : str
        As it is part of the name that CUDA gives.
    flops : float
        FLOP/s of dense matrices, summed in float32, in the precision that a training has there:
        bfloat16, or float16 where that is missing.
    bandwidth : float
        Bytes/s of its memory.
    memory : float
        Bytes of its memory.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float

    def seconds(self, operators: Iterable["Operator"]) -> float:
        """The least that operators take one after the other: each its FLOPs, or its bytes."""
        return sum(max(o.flops / self.flops, o.bytes / self.bandwidth) for o in operators)


# NVIDIA's own figures, without sparsity. H100 (SXM5): the white paper of its architecture, for the
# data sheet's 1,979 are with sparsity; 3.35 TB/s are the data sheet's. A100 80GB (SXM) and V100
# (SXM2, 32 GB): data sheets. RTX 4090: the Ada architecture's white paper, appendix A, with sums in
# float32. T4: its product brief.
CARDS = (
    Card("H100", 989.4e12, 3.35e12, 80e9),
    Card("A100", 312e12, 2.039e12, 80e9),
    Card("V100", 125e12, 0.9e12, 32e9),
    Card("RTX 4090", 165.2e12, 1.008e12, 24e9),
    Card("T4", 65e12, 0.32e12, 16e9),
)


def card_of(device: str) -> Card | None:
    """The card that CUDA calls so, such as ``NVIDIA H100 80GB HBM3``; None for others."""
    found = (card for card in CARDS if re.search(rf"\b{card.name}\b(?! Laptop)", device))
    return next(found, None)
