"""From the maps of a method's stages to one label map, one module each: ``merge.name`` names it.

Its function `merge` takes `StageMaps` by role, and the keys of the recipe's section that are no
roles, and gives a (z, y, x) uint8 label map of the native shape.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from renal.inference import native_mask
from renal.prepare import PreparedCase
from renal.regions import clean

if TYPE_CHECKING:
    from renal.recipe import Components


@dataclass(frozen=True)
class StageMap:
    """One map of a stage, and where its regions lie.

    Attributes
    ----------
    case : PreparedCase
        Boxes of the regions, and shape of the native volume.
    probabilities : list of numpy.ndarray
        (z, y, x) float32 of each region.
    components : Components
        Which components of the native mask are kept.
    """

    case: PreparedCase
    probabilities: list[np.ndarray]
    components: "Components"

    def native_mask(self) -> np.ndarray:
        """Native (z, y, x) bool mask without the components that are dropped."""
        return clean(native_mask(self.probabilities, self.case), self.components)[0]


def merge_maps(maps: dict[str, StageMap], settings: Any) -> np.ndarray:
    """Label map, (z, y, x) uint8 of the native shape, by a recipe's `merge` section."""
    function = importlib.import_module(f"renal.merges.{settings.name}").merge
    keywords = settings.model_dump(exclude={"name", *settings.roles})
    return function(**maps, **keywords)
