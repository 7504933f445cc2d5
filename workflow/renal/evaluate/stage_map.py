"""What a merge starts from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from renal.handover.predictions import native_mask
from renal.handover.prepared import PreparedCase
from renal.image.components import clean

if TYPE_CHECKING:
    from renal.image.settings import Components


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

    def native_mask(self, within: np.ndarray | None = None) -> np.ndarray:
        """Native (z, y, x) bool mask, cut by another, without the components that are dropped."""
        mask = native_mask(self.probabilities, self.case)
        return clean(mask if within is None else mask & within, self.components)[0]
