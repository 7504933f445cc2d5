"""Thresholds, region growing and fall-backs on the stages' own grid (Vu 2019, algorithm 1)."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from renal.errors import InputError
from renal.evaluate.hysteresis import hysteresis
from renal.handover.predictions import native_mask
from renal.image.boxes import whole_volume
from renal.image.components import clean
from renal.image.grids import to_grid

if TYPE_CHECKING:
    from renal.evaluate.stage_map import StageMap
    from renal.labels import Labels

log = logging.getLogger(__name__)


def merge(
    maps: Mapping[str, "StageMap"],
    labels: "Labels",
    *,
    threshold: float,
    kidney_growth: Mapping[str, float],
    tumour_growth: Mapping[str, float],
    small_voxels: int,
) -> np.ndarray:
    """Label map, (z, y, x) uint8 of the native shape.

    Parameters
    ----------
    maps : mapping of str to StageMap
        Of kidney and tumour, the probabilities on one grid over the whole volume; as ``within``
        those of the localization network, on a grid that covers the same part of the volume.
    labels : Labels
        The scheme of the label map.
    threshold, kidney_growth, tumour_growth, small_voxels
        See `renal.evaluate.hysteresis`.

    Raises
    ------
    InputError
        If the grids do not cover the same part of the volume.
    """
    kidney, tumour, within = maps["kidney"], maps["tumour"], maps["within"]
    if not kidney.case.boxes == tumour.case.boxes == within.case.boxes:
        raise InputError(
            f"{kidney.case.name}: merge hysteresis needs stages whose grids cover the same part of "
            "the scan: give them the same geometry.extent_mm or body"
        )
    (kidney_map,), (tumour_map,), (within_map,) = (
        role.probabilities for role in (kidney, tumour, within)
    )
    within_map = to_grid(within_map, whole_volume(within_map.shape), kidney_map.shape)
    if not (tumour_map > tumour_growth["empty"]).any():
        log.warning(
            "%s: no voxel's probability of tumour exceeds %g, so all of the kidney is called "
            "tumour, a healthy one too (merge hysteresis)",
            kidney.case.name,
            tumour_growth["empty"],
        )
    masks = hysteresis(
        kidney_map,
        tumour_map,
        within_map,
        threshold=threshold,
        kidney_growth=kidney_growth,
        tumour_growth=tumour_growth,
        small_voxels=small_voxels,
    )
    native = [
        clean(native_mask([mask.astype(np.float32)], role.case), role.components)[0]
        for mask, role in zip(masks, (kidney, tumour), strict=True)
    ]
    return labels.paint(dict(zip(("kidney", "tumour"), native, strict=True)))
