"""Regions within each other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from renal.evaluate.stage_map import StageMap
    from renal.labels import Labels


def merge(maps: Mapping[str, "StageMap"], labels: "Labels") -> "np.ndarray":
    """Label map, (z, y, x) uint8 of the native shape, from the native masks of regions by name."""
    return labels.paint({name: stage_map.native_mask() for name, stage_map in maps.items()})
