"""The whole volume at once."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from renal.learn.inferers import Predictor


def infer(
    images: list[Tensor], predictor: "Predictor", *, context: int = 1, times: int = 1
) -> list[Tensor]:
    """Probabilities (maps, z, y, x) of images (z, y, x), stacked along z as in training.

    `context` is of no use on volumes, nor `times` on one.
    """
    maps = predictor(torch.cat(images)[None, None])[0].to(images[0].device)
    return list(maps.split([len(image) for image in images], dim=1))
