"""Slice by slice."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from renal.learn.inferers.batches import batches
from renal.learn.samplers.slices import neighbours

if TYPE_CHECKING:
    from renal.learn.inferers import Predictor


def infer(
    images: list[Tensor], predictor: "Predictor", *, batch: int, context: int, times: int = 1
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
    times : int
        How many such batches go through the network as one.
    """
    return [_infer_one(image, predictor, batch * times, context) for image in images]


def _infer_one(image: Tensor, predictor: "Predictor", batch: int, context: int) -> Tensor:
    parts = []
    for numbers in batches(range(len(image)), batch):
        # Not by a list of numbers as index, which would have to be copied to a GPU.
        around = [image[n] for number in numbers for n in neighbours(number, context, len(image))]
        stacks = torch.stack(around).unflatten(0, (-1, 1, context))
        parts.append(predictor(stacks).to(image.device))
    # (slices, maps, 1, y, x) to (maps, slices, y, x)
    return torch.cat(parts)[:, :, 0].transpose(0, 1)
