"""Thresholds, region growing and fall-backs on the stages' own grid (Vu 2019, algorithm 1)."""

from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.hysteresis import hysteresis
from renal.inference import native_mask
from renal.merges.tumour_within_whole import labelled
from renal.regions import clean
from renal.resample import to_grid, whole_volume

if TYPE_CHECKING:
    from renal.merges import StageMap


def merge(
    whole: "StageMap",
    tumour: "StageMap",
    within: "StageMap",
    *,
    threshold: float,
    whole_growth: dict[str, float],
    tumour_growth: dict[str, float],
    small_voxels: int,
) -> np.ndarray:
    """Label map, (z, y, x) uint8 of the native shape.

    Parameters
    ----------
    whole, tumour : StageMap
        Probabilities on one grid over the whole volume.
    within : StageMap
        The localization network's, on a grid that covers the same part of the volume.
    threshold, whole_growth, tumour_growth, small_voxels
        See `renal.hysteresis`.

    Raises
    ------
    InputError
        If the grids do not cover the same part of the volume.
    """
    if not whole.case.boxes == tumour.case.boxes == within.case.boxes:
        raise InputError(
            f"{whole.case.name}: merge hysteresis needs stages whose grids cover the same part of "
            "the scan: give them the same geometry.extent_mm or body"
        )
    (whole_map,), (tumour_map,), (within_map,) = (
        role.probabilities for role in (whole, tumour, within)
    )
    within_map = to_grid(within_map, whole_volume(within_map.shape), whole_map.shape, "linear")
    masks = hysteresis(
        whole_map,
        tumour_map,
        within_map,
        threshold=threshold,
        whole_growth=whole_growth,
        tumour_growth=tumour_growth,
        small_voxels=small_voxels,
    )
    native = [
        clean(native_mask([mask.astype(np.float32)], role.case), role.components)[0]
        for mask, role in zip(masks, (whole, tumour), strict=True)
    ]
    return labelled(*native)
