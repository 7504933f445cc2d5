"""From the maps of a method's stages to one label map, one module each: ``merge.name`` names it.

Its function `merge` takes `StageMap`s by role and the other keys of the recipe's section.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from renal.evaluate.stage_map import StageMap
    from renal.labels import Labels


class Merge(Protocol):
    """What a module here provides as `merge`."""

    def __call__(
        self, maps: Mapping[str, "StageMap"], labels: "Labels", **keywords: Any
    ) -> "np.ndarray":
        """Label map, (z, y, x) uint8 of the native shape, from maps by role."""


def merge_maps(maps: Mapping[str, "StageMap"], settings: Any, labels: "Labels") -> "np.ndarray":
    """Label map, (z, y, x) uint8 of the native shape, by a recipe's `merge` section."""
    merge: Merge = importlib.import_module(f"renal.evaluate.merges.{settings.name}").merge
    return merge(maps, labels, **settings.model_dump(exclude={"name", "maps"}))
