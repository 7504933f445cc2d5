"""Slice by slice."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from renal.learn.samplers.slices import neighbours

if TYPE_CHECKING:
    from renal.learn.inferers import Predictor


def infer(
    images: list[Tensor], predictor: "Predictor", *, batch: int, context: int
) -> list[Tensor]:
    """Probabilities of images (z, y, x): (maps, z, y, x), or (maps, z, 1, 1) of a classifier.

    Parameters
    ----------
    images : list of torch.Tensor
        (z, y, x) float.
    predictor : callable
        Gives the maps of one slice from (batch, 1, context, y, x).
    batch : int
        Slices at a time.
    context : int
        A slice and its neighbours, as in training.
    """
    return [_infer_one(image, predictor, batch, context) for image in images]


def _infer_one(image: Tensor, predictor: "Predictor", batch: int, context: int) -> Tensor:
    parts = []
    for numbers in torch.arange(len(image)).split(batch):
        around = [image[neighbours(int(number), context, len(image))] for number in numbers]
        parts.append(predictor(torch.stack(around)[:, None]).cpu())
    # (slices, maps, 1, y, x) to (maps, slices, y, x)
    return torch.cat(parts)[:, :, 0].transpose(0, 1)
