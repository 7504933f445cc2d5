"""Prepared cases as training examples."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from renal.errors import InputError
from renal.prepare import foreground, read_images, read_index, read_labels

if TYPE_CHECKING:
    from renal.recipe import Training


class TrainingSet:
    """The training cases of a fold: moved to the GPU once where they fit, else memory-mapped.

    Parameters
    ----------
    folders : list of Path
        Prepared batches. Cases without a region are left out.
    settings : Training
        The recipe's target and sampler.
    device : torch.device
        Where examples are wanted.
    """

    def __init__(self, folders: list[Path], settings: "Training", device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self.names: list[str] = []
        self._images: list[list[np.ndarray | Tensor]] = []
        self._labels: list[list[np.ndarray | Tensor]] = []
        for folder in folders:
            for case in read_index(folder).values():
                if case.boxes:
                    self.names.append(case.name)
                    self._images.append(read_images(folder, case))
                    self._labels.append(read_labels(folder, case))
        if not self.names:
            raise InputError(f"{', '.join(map(str, folders))}: no case to train on: add cases")
        arrays = [a for case in (*self._images, *self._labels) for a in case]
        # On the CPU the page cache serves mapped files as fast, and counts for no job's memory.
        if device.type == "cuda" and sum(a.nbytes for a in arrays) <= _free_bytes(device) / 2:
            self._images = [[self._moved(a) for a in case] for case in self._images]
            self._labels = [[self._moved(a) for a in case] for case in self._labels]

    def __len__(self) -> int:
        return len(self.names)

    def _moved(self, array: np.ndarray | Tensor) -> Tensor:
        if isinstance(array, np.ndarray):
            array = torch.from_numpy(np.array(array))
        return array.to(self.device)

    def batch(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Images and targets of some cases.

        Returns
        -------
        images, targets : torch.Tensor
            (batch, 1, z, y, x) float32 on the device; targets are 0 or 1. The regions of a case
            are stacked along z, in random order where the sampler says so.
        """
        images, targets = [], []
        for index in indices:
            order = range(len(self._images[index]))
            if self.settings.sampler.shuffle_regions:
                order = torch.randperm(len(order)).tolist()
            images.append(self._stacked(self._images[index], order))
            targets.append(self._stacked(self._labels[index], order))
        target = foreground(torch.stack(targets), self.settings.target)
        return torch.stack(images).float()[:, None], target.float()[:, None]

    def _stacked(self, arrays: list[np.ndarray | Tensor], order: list[int]) -> Tensor:
        return torch.cat([self._moved(arrays[region]) for region in order])


def _free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0]
