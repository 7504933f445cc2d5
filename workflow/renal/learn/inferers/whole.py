"""The whole volume at once."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from renal.learn.inferers import Predictor


def infer(images: list[Tensor], predictor: "Predictor", **_: Any) -> list[Tensor]:
    """Probabilities (maps, z, y, x) of images (z, y, x), stacked along z as in training."""
    maps = predictor(torch.cat(images)[None, None])[0].cpu()
    return list(maps.split([len(image) for image in images], dim=1))
