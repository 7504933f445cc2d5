"""Augmentations, one module each: a recipe's ``name`` in `augmentation` is that of a module here.

Its function `transform` takes images and labels and the other keys of the recipe's entry.
"""

import importlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Transform(Protocol):
    """What a module here provides as `transform`."""

    def __call__(
        self, image: "Tensor", label: "Tensor", **keywords: Any
    ) -> tuple["Tensor", "Tensor"]:
        """Images (batch, 1, z, y, x) float and labels of the same shape, on their device.

        What it needs is drawn from torch's global generator, which the training loop seeds every
        epoch.
        """


def augment(
    image: "Tensor", label: "Tensor", transforms: tuple[Any, ...]
) -> tuple["Tensor", "Tensor"]:
    """Apply the recipe's transforms in order."""
    for settings in transforms:
        module = importlib.import_module(f"renal.learn.augmentations.{settings.name}")
        transform: Transform = module.transform
        image, label = transform(image, label, **settings.model_dump(exclude={"name"}))
    return image, label
