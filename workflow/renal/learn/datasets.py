"""Prepared cases as training examples."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from renal.errors import InputError
from renal.files import read_array
from renal.handover.prepared import PreparedCase, image_file, label_file, read_index
from renal.image.boxes import Box
from renal.learn.device import on_device, work_on
from renal.learn.samplers import Place, sampler_of

if TYPE_CHECKING:
    from renal.learn.settings import Training, Validation

Array = np.ndarray | Tensor


class MappedFiles(Sequence[np.ndarray]):
    """Arrays of .npy files, each mapped anew whenever it is asked for.

    Held open, they would be two files a region: many systems let a process open 1,024.
    """

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        return read_array(self._paths[index])


@dataclass
class Case:
    """A case to learn from.

    Attributes
    ----------
    name : str
        Case name.
    images, labels : sequence of numpy.ndarray or torch.Tensor
        (z, y, x) of each region: memory-mapped, or tensors on the GPU.
    slack : list of Box
        See `PreparedCase`; empty where regions are not moved about.
    """

    name: str
    images: Sequence[Array]
    labels: Sequence[Array]
    slack: list[Box]


def read_cases(folders: list[Path]) -> list[Case]:
    """The cases of some prepared folders, without those that have no region.

    Raises
    ------
    InputError
        If there is none.
    """
    cases = [
        _mapped(folder, entry)
        for folder in folders
        for entry in read_index(folder).values()
        if entry.boxes
    ]
    if not cases:
        raise InputError(
            f"{', '.join(map(str, folders))}: no case with a region to train on: add cases, or "
            "lower components.minimum_voxels of the stage before"
        )
    for case in cases:
        for _ in (*case.images, *case.labels):
            pass  # each is mapped once: a file that is missing or damaged is told now
    return cases


def _mapped(folder: Path, entry: PreparedCase) -> Case:
    regions = range(len(entry.boxes))
    images = MappedFiles([image_file(folder, entry.name, number) for number in regions])
    labels = MappedFiles([label_file(folder, entry.name, number) for number in regions])
    return Case(entry.name, images, labels, entry.slack)


def split(
    cases: list[Case], settings: "Validation | None", seed: int
) -> tuple[list[Case], list[Case]]:
    """Cases to learn from and cases to watch, drawn by `seed` whatever the order of `cases`.

    Raises
    ------
    InputError
        If there are too few for both.
    """
    if settings is None:
        return cases, []
    if len(cases) < 2:
        raise InputError("training: one case cannot be split for validation: add cases")
    ordered = sorted(cases, key=lambda case: case.name)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(ordered), generator=generator).tolist()
    count = min(max(1, round(settings.share * len(ordered))), len(ordered) - 1)
    watched = {ordered[position].name for position in order[:count]}
    return (
        [case for case in cases if case.name not in watched],
        [case for case in cases if case.name in watched],
    )


class Examples:
    """What the recipe's sampler makes of some cases: a list of examples to draw batches from.

    Parameters
    ----------
    cases : list of Case
        The cases.
    settings : Training
        The recipe's training section.
    device : torch.device
        Where batches are wanted.
    spared : callable
        Calls a function with arguments, and sees to memory for it.
    """

    def __init__(
        self,
        cases: list[Case],
        settings: "Training",
        device: torch.device,
        spared: Callable[..., Any] = lambda function, *arguments: function(*arguments),
    ) -> None:
        self.cases = cases
        self.settings = settings
        self.device = device
        self.spared = spared
        self._sampler = sampler_of(settings.sampler)
        self.entries: list[tuple[int, Place]] = [
            (number, place)
            for number, case in enumerate(cases)
            for place in self._sampler.places(case)
        ]

    def __len__(self) -> int:
        return len(self.entries)

    def batch(self, indices: list[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images and label maps of some examples.

        Returns
        -------
        images, labels : torch.Tensor
            (batch, 1, z, y, x) float32 on the device; labels are label maps, and have one slice
            where the image has the neighbours of a slice.
        """
        pairs = []
        for index in indices:
            number, place = self.entries[index]
            pairs.append(self._sampler.cut(self.cases[number], place, generator))
        images, labels = zip(*pairs, strict=True)
        image = on_device(torch.stack(images), self.device)
        label = on_device(torch.stack(labels), self.device)
        return image.float()[:, None], label.float()[:, None]

    def batches(self, order: list[int], seed: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Indices, images and labels of one batch after the other, in `order`.

        The next batch is read while the network works on this one. What a sampler draws comes from
        a generator of its own, so that the order of the two makes no difference.
        """
        size = self.settings.batch_size
        generator = torch.Generator().manual_seed(seed)
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        with ThreadPoolExecutor(1, initializer=work_on, initargs=(self.device,)) as reader:
            following = [
                reader.submit(self.spared, self.batch, part, generator) for part in parts[:1]
            ]
            for part, ahead in zip_longest(parts, parts[1:]):
                image, label = following.pop().result()
                if ahead is not None:
                    following.append(reader.submit(self.spared, self.batch, ahead, generator))
                yield part, image, label

    def has_foreground(self, index: int) -> bool:
        """Whether an example's label holds anything."""
        number, place = self.entries[index]
        _, label = self._sampler.cut(self.cases[number], place, torch.Generator())
        return bool((label > 0).any())
