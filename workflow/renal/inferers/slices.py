"""Slice by slice."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from renal.samplers.slices import neighbours

if TYPE_CHECKING:
    from renal.inferers import Predictor


def infer(image: Tensor, predictor: "Predictor", *, batch: int, context: int) -> Tensor:
    """Probabilities of an image (z, y, x): (maps, z, y, x), or (maps, z, 1, 1) of a classifier.

    Parameters
    ----------
    image : torch.Tensor
        (z, y, x) float.
    predictor : callable
        Gives the maps of one slice from (batch, 1, context, y, x).
    batch : int
        Slices at a time.
    context : int
        A slice and its neighbours, as in training.
    """
    parts = []
    for numbers in torch.arange(len(image)).split(batch):
        around = [image[neighbours(int(number), context, len(image))] for number in numbers]
        parts.append(predictor(torch.stack(around)[:, None]).cpu())
    # (slices, maps, 1, y, x) to (maps, slices, y, x)
    return torch.cat(parts)[:, :, 0].transpose(0, 1)
