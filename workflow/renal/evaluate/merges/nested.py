"""Regions within each other."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from renal.evaluate.stage_map import StageMap
    from renal.labels import Labels


def merge(maps: Mapping[str, "StageMap"], labels: "Labels") -> "np.ndarray":
    """Label map, (z, y, x) uint8 of the native shape, from the native masks of regions by name.

    A region is cut by the one around it, the outermost by ``within`` where that is given, before
    its components are told apart: a large one outside would displace the true one.
    """
    around = maps["within"].native_mask() if "within" in maps else None
    masks: dict[str, np.ndarray] = {}
    for region in labels.regions:
        if region.name in maps:
            outer = labels.outer(region, masks)
            cut = around if outer is None else masks[outer.name]
            masks[region.name] = maps[region.name].native_mask(cut)
    return labels.paint(masks)
