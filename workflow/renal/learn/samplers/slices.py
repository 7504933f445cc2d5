"""Single slices with their neighbours."""

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from renal.learn.arrays import as_tensor

if TYPE_CHECKING:
    from renal.learn.datasets import Case
    from renal.learn.samplers import Place


class Sampler:
    """Every slice of a case, or those that hold kidney.

    Parameters
    ----------
    context : int
        How many slices the network sees: one and its neighbours. At the ends of the volume the
        outermost slice stands for those that are missing.
    only : {"kidney"}, optional
        Leave out slices without kidney or tumour.
    """

    def __init__(self, context: int, only: Literal["kidney"] | None) -> None:
        self.context = context
        self.only = only

    def places(self, case: "Case") -> list["Place"]:
        return [
            (region, number)
            for region, label in enumerate(case.labels)
            for number in range(len(label))
            if self.only is None or bool(label[number].any())
        ]

    def cut(
        self, case: "Case", place: "Place", generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        region, number = place
        image = case.images[region]
        around = neighbours(number, self.context, len(image))
        # One read of adjoining slices; at the ends the outermost is repeated, without a list of
        # indices, which would have to be copied to a GPU.
        part = as_tensor(image[around[0] : around[-1] + 1])
        before = max(0, self.context // 2 - number)
        behind = self.context - before - len(part)
        ends = part[:1].expand(before, -1, -1), part[-1:].expand(behind, -1, -1)
        label = as_tensor(case.labels[region][number : number + 1])
        return torch.cat([ends[0], part, ends[1]]), label


def neighbours(number: int, context: int, length: int) -> list[int]:
    """Numbers of a slice and its neighbours, `context` in all, of a volume of `length` slices."""
    half = context // 2
    numbers = np.arange(number - half, number + half + 1).clip(0, length - 1)
    around: list[int] = numbers.tolist()
    return around
