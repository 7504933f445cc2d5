"""Tumour = whole AND tumour."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from renal.merges import StageMap


def merge(whole: "StageMap", tumour: "StageMap") -> np.ndarray:
    """Label map, (z, y, x) uint8 of the native shape, from the native masks of two maps."""
    return labelled(whole.native_mask(), tumour.native_mask())


def labelled(whole: np.ndarray, tumour: np.ndarray) -> np.ndarray:
    """Tumour = whole AND tumour, kidney = whole without tumour (Hao 2019, equations 3 and 4).

    Parameters
    ----------
    whole, tumour : numpy.ndarray
        (z, y, x) bool.

    Returns
    -------
    numpy.ndarray
        (z, y, x) uint8: 0 background, 1 kidney, 2 tumour.
    """
    label = whole.astype(np.uint8)
    label[whole & tumour] = 2
    return label
