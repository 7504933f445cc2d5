"""Region growing by hysteresis, with fall-backs for empty masks (Vu 2019, algorithm 1)."""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from renal.image.components import TOUCHING


def hysteresis(
    kidney: np.ndarray,
    tumour: np.ndarray,
    within: np.ndarray,
    *,
    threshold: float,
    kidney_growth: Mapping[str, float],
    tumour_growth: Mapping[str, float],
    small_voxels: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Masks of kidney and tumour from their probabilities.

    Parameters
    ----------
    kidney, tumour, within : numpy.ndarray
        (z, y, x) float32 probabilities on one grid: of the two regions, and of the kidney
        as the localization network sees it, outside of whose mask both are cut away.
    threshold : float
        Probability above which a voxel belongs to a region.
    kidney_growth : mapping
        Lower thresholds: `default` to grow the region to, `empty` to take where it is empty.
    tumour_growth : mapping
        Lower thresholds: `default` and, for fewer voxels than `small_voxels`, `small` to grow the
        tumour to, `empty` to take where it is empty. Where that leaves it empty too, all of the
        kidney is tumour.
    small_voxels : int
        Voxels of the grid.

    Returns
    -------
    kidney, tumour : numpy.ndarray
        (z, y, x) bool. The tumour is a part of the kidney.
    """
    kidney_mask = _kidney_region(kidney, threshold, kidney_growth)
    tumour_mask = _tumour_region(tumour, kidney_mask, threshold, tumour_growth, small_voxels)
    # Lines 27 and 28: one label map, in which tumour goes before kidney, times L-Net's mask.
    found = within > threshold
    return (kidney_mask | tumour_mask) & found, tumour_mask & found


def _kidney_region(
    probability: np.ndarray, threshold: float, growth: Mapping[str, float]
) -> np.ndarray:
    """Lines 2 to 9 of the algorithm."""
    mask = probability > threshold
    if not mask.any():
        return probability > growth["empty"]
    return grow(mask, probability > growth["default"])


def _tumour_region(
    probability: np.ndarray,
    kidney_mask: np.ndarray,
    threshold: float,
    growth: Mapping[str, float],
    small_voxels: int,
) -> np.ndarray:
    """Lines 2 and 10 to 26 of the algorithm.

    Line 17 refines what lines 12 to 16 have made by the same lower threshold that made it. Grown
    from the mask at the higher threshold, which is empty there, it would always be empty; grown
    from the mask in hand, it stays as it is.
    """
    mask = probability > threshold
    voxels = np.count_nonzero(mask)
    if voxels == 0:
        lower = probability > growth["empty"]
        return lower if lower.any() else kidney_mask
    lower_threshold = growth["small"] if voxels < small_voxels else growth["default"]
    return grow(mask, probability > lower_threshold)


def grow(seed: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Add to a mask the components of another that touch it (Vu 2019, section 3.5).

    Parameters
    ----------
    seed, candidate : numpy.ndarray
        (z, y, x) bool. Voxels that share a face, an edge or a corner touch (26 neighbours).
    """
    components, count = ndimage.label(seed | candidate, structure=TOUCHING)
    kept = np.zeros(count + 1, bool)
    kept[components[seed]] = True
    return kept[components]
