"""Patches of a fixed size."""

from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from renal.image.boxes import slices, three
from renal.learn.arrays import as_tensor, padded

if TYPE_CHECKING:
    from renal.learn.datasets import Case
    from renal.learn.samplers import Place


class Sampler:
    """All patches on a lattice, or some at random places.

    Parameters
    ----------
    size : tuple of int
        Voxels (z, y, x) of a patch. A smaller region is padded with its smallest value.
    stride : tuple of int, optional
        Step of the lattice, whose last patch along an axis ends where the volume does.
    per_case : int, optional
        Patches at random places of a random region instead, a region being a true one that is
        moved by what the recipe's jitter allows.
    """

    def __init__(
        self,
        size: tuple[int, int, int],
        stride: tuple[int, int, int] | None,
        per_case: int | None,
    ) -> None:
        self.size = size
        self.stride = stride
        self.per_case = per_case

    def places(self, case: "Case") -> list["Place"]:
        if self.per_case is not None:
            return [()] * self.per_case
        assert self.stride is not None  # the settings have one of the two
        return [
            (region, *start)
            for region, image in enumerate(case.images)
            for start in product(*map(starts, image.shape, self.size, self.stride))
        ]

    def cut(
        self, case: "Case", place: "Place", generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        region, *start = place or self._random_place(case, generator)
        whole = case.images[region]
        box = three(
            (low, min(low + side, length))
            for low, side, length in zip(start, self.size, whole.shape, strict=True)
        )
        image = as_tensor(whole[slices(box)])
        label = as_tensor(case.labels[region][slices(box)])
        # Labels are padded with background, which a patch of nothing but tumour has no voxel of.
        image, inner = padded(image, self.size, whole)
        large = label.new_zeros(image.shape)
        large[inner] = label
        return image, large

    def _random_place(self, case: "Case", generator: torch.Generator) -> "Place":
        region = _drawn(0, len(case.images) - 1, generator)
        shape = case.images[region].shape
        slack = case.slack[region] if case.slack else ((0, 0),) * 3
        place = [region]
        for length, side, (before, behind) in zip(shape, self.size, slack, strict=True):
            low = min(_drawn(0, 2 * before, generator), length - 1)
            high = max(length - _drawn(0, 2 * behind, generator), low + 1)
            # A patch that the moved region does not fill is filled with what lies around it.
            place.append(min(_drawn(low, max(low, high - side), generator), max(0, length - side)))
        return tuple(place)


def starts(length: int, side: int, stride: int) -> list[int]:
    """Where patches begin that cover `length` in steps of `stride`, the last one at its end."""
    last = max(0, length - side)
    return [*range(0, last, stride), last]


def _drawn(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator))
