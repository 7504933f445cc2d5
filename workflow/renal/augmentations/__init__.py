"""Augmentations, one module each: a recipe's ``name`` in `augmentation` is that of a module here.

Its function `transform` takes and returns images (batch, 1, z, y, x) float and targets of the same
shape, on the device that holds them; it draws what it needs from torch's global generator, which
the training loop seeds every epoch.
"""

import importlib
from typing import Any

from torch import Tensor


def augment(image: Tensor, target: Tensor, transforms: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """Apply the recipe's transforms in order."""
    for settings in transforms:
        transform = importlib.import_module(f"renal.augmentations.{settings.name}").transform
        image, target = transform(image, target, **settings.model_dump(exclude={"name"}))
    return image, target
