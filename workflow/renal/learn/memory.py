"""A GPU's memory: prepared cases lie there if a training leaves room, and make room if it must.

It decides no result, and is handed to the training loop, so that another way trains nothing again.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from renal.learn.datasets import Array, Case
from renal.learn.distributed import processes
from renal.learn.shortage import too_little

log = logging.getLogger(__name__)

# Share of the card that stays free: the allocator's blocks do not fit each other seamlessly.
SPARE = 0.1
TRAINING = "lower batch_size of the stage, or the network's width, in config.yaml's overrides"


class GpuMemory:
    """The memory of a training's GPU; on a CPU, where the page cache serves files, it does nothing.

    Parameters
    ----------
    cases : list of Case
        Of mapped files.
    device : torch.device
        Where the training computes.
    """

    def __init__(self, cases: list[Case], device: torch.device) -> None:
        self.files = [(case, case.images, case.labels) for case in cases]
        self.device = device
        self.is_decided = device.type != "cuda"
        self.is_resident = False

    def fill(self) -> None:
        """Move the cases to the GPU if they fit beside what an epoch needed; asked once.

        After an epoch the allocator holds what steps and validation need, so that what is free is
        left over.
        """
        if self.is_decided:
            return
        self.is_decided = True
        arrays = (array for _, *regions in self.files for part in regions for array in part)
        size = sum(array.nbytes for array in arrays)
        free, total = torch.cuda.mem_get_info(self.device)
        if size > free - SPARE * total:
            return
        self.is_resident = True
        try:
            for case, images, labels in self.files:
                case.images = [self._moved(array) for array in images]
                case.labels = [self._moved(array) for array in labels]
        except torch.OutOfMemoryError:
            self._make_room()

    def spared(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns, tried once more without resident cases where memory is short.

        Raises
        ------
        InputError
            If it is too short even so. With several processes at once, as the others do not repeat.
        """
        was_resident = self.is_resident
        try:
            return function(*arguments)
        except torch.OutOfMemoryError as error:
            if not was_resident or processes() > 1:
                raise too_little(self.device, TRAINING) from error
        except RuntimeError:
            # The reader may find cases on both sides while the other thread makes room.
            if self.is_resident == was_resident:
                raise
        self._make_room()
        log.info("GPU memory is short: cases are read from files again, and the step is repeated")
        return self.spared(function, *arguments)

    def _make_room(self) -> None:
        self.is_resident = False
        for case, images, labels in self.files:
            case.images, case.labels = images, labels
        torch.cuda.empty_cache()

    def _moved(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(self.device)
