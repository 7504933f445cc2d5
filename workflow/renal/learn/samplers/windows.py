"""Consecutive slices at a random place."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from renal.learn.arrays import as_tensor, padded

if TYPE_CHECKING:
    from renal.learn.datasets import Array, Case
    from renal.learn.samplers import Place


class Sampler:
    """Some windows of each region an epoch.

    Parameters
    ----------
    length : int
        Slices of a window. Shorter volumes are padded with their smallest value.
    around : {"kidney"}, optional
        Draw windows from the slices that hold kidney or tumour alone,
    extend : int
        and so many more on both sides.
    per_case : int
        Windows of a region.
    """

    def __init__(
        self, length: int, around: Literal["kidney"] | None, extend: int, per_case: int = 1
    ) -> None:
        self.per_case = per_case
        self.length = length
        self.around = around
        self.extend = extend

    def places(self, case: "Case") -> list["Place"]:
        ranges = [(region, *self._range(label)) for region, label in enumerate(case.labels)]
        return [place for place in ranges for _ in range(self.per_case)]

    def cut(
        self, case: "Case", place: "Place", generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        region, first, last = place
        start = int(torch.randint(first, last + 1, (), generator=generator))
        window = slice(start, start + self.length)
        image = as_tensor(case.images[region][window])
        label = as_tensor(case.labels[region][window])
        image, inner = padded(image, (self.length, *image.shape[1:]))
        whole = label.new_zeros(image.shape)
        whole[inner] = label
        return image, whole

    def _range(self, label: "Array") -> tuple[int, int]:
        """First and last slice at which a window may begin."""
        length = len(label)
        low, high = 0, length
        if self.around is not None:
            inside = [number for number in range(length) if bool(label[number].any())]
            if inside:
                low, high = inside[0] - self.extend, inside[-1] + 1 + self.extend
        # A range shorter than the window is seen whole, within what else there is.
        first = min(max(low, 0), max(length - self.length, 0))
        last = max(min(high, length) - self.length, first)
        return first, last
