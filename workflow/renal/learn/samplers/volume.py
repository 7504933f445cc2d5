"""Whole volumes; several regions of a case stacked into one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from renal.learn.arrays import as_tensor

if TYPE_CHECKING:
    from renal.learn.datasets import Case
    from renal.learn.samplers import Place


class Sampler:
    """Each case once: its regions stacked along z, in random order where asked for."""

    def __init__(self, shuffle_regions: bool) -> None:
        self.shuffle_regions = shuffle_regions

    def places(self, case: "Case") -> list["Place"]:
        return [()]

    def cut(
        self, case: "Case", place: "Place", generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        order: Sequence[int] = range(len(case.images))
        if self.shuffle_regions:
            order = torch.randperm(len(order), generator=generator).tolist()
        images = [as_tensor(case.images[region]) for region in order]
        labels = [as_tensor(case.labels[region]) for region in order]
        return torch.cat(images), torch.cat(labels)
