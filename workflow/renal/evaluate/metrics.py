"""Metrics of kidney-tumour segmentation.

Label volumes are ``uint8`` arrays with axes ``(z, y, x)``; what their values mean, and which
regions are scored, says a table of labels. By KiTS19's, as in its official evaluation, the region
"kidney" is the kidney together with its tumour.

Masks are ``bool`` arrays with the same axes. Distances and voxel spacings are in millimetres.

References
----------
.. [1] N. Heller et al., KiTS19 evaluation script, ``starter_code/evaluation.py`` in
   https://github.com/neheller/kits19
.. [2] MONAI, ``monai.metrics.compute_hausdorff_distance`` and
   ``monai.metrics.compute_surface_dice``, https://docs.monai.io/en/stable/metrics.html
.. [3] S. Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head
   and neck anatomy for radiotherapy", 2018, https://arxiv.org/abs/1809.04430; its program is
   https://github.com/google-deepmind/surface-distance
"""

from typing import Literal

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

from renal.labels import KITS19, Labels, Region

Detection = Literal["found", "missed", "absent", "false alarm"]


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient of two masks, 2|P∩T| / (|P| + |T|).

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x)

    Returns
    -------
    float
        Between 0 and 1. Two empty masks agree perfectly and score 1.0; the official KiTS19
        script [1]_ divides 0 by 0 there. One empty mask scores 0.0.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _require_same_shape(prediction, truth)
    return _dice_of_counts(
        overlap=np.count_nonzero(prediction & truth),
        total=np.count_nonzero(prediction) + np.count_nonzero(truth),
    )


def confusion_matrix(
    prediction_labels: np.ndarray, truth_labels: np.ndarray, labels: Labels = KITS19
) -> np.ndarray:
    """Count the voxels of each pair of a true and a predicted label.

    Parameters
    ----------
    prediction_labels, truth_labels : ndarray of uint8, shape (z, y, x)

    Returns
    -------
    ndarray of int64, shape (label values, label values)
        Element ``[t, p]`` counts the voxels of true label ``t`` and predicted label ``p``.

    Raises
    ------
    ValueError
        If the shapes differ or a label is none of the table's.
    """
    _require_same_shape(prediction_labels, truth_labels)
    count = labels.count
    box = _union_box(prediction_labels, truth_labels)
    prediction, truth = prediction_labels[box], truth_labels[box]
    if max(prediction.max(initial=0), truth.max(initial=0)) >= count:
        raise ValueError(f"label volumes may hold {labels.legend} only")

    pairs = (truth.astype(np.uint16) * count + prediction).ravel()
    counts = np.bincount(pairs, minlength=count**2)
    counts[0] += truth_labels.size - truth.size  # everything outside the box is background
    return counts.reshape(count, count)


def region_dice(
    prediction_labels: np.ndarray, truth_labels: np.ndarray, labels: Labels = KITS19
) -> dict[str, float]:
    """Dice of each region, by KiTS19's table those of its official evaluation [1]_.

    Parameters
    ----------
    prediction_labels, truth_labels : ndarray of uint8, shape (z, y, x)

    Returns
    -------
    dict
        Dice by name of region, with the rules of `dice` for empty masks.

    Raises
    ------
    ValueError
        If the shapes differ or a label is none of the table's.
    """
    confusion = confusion_matrix(prediction_labels, truth_labels, labels)
    return {region.name: _dice_of_confusion(confusion, region) for region in labels.regions}


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance from each boundary voxel of one mask to the nearest one of the other mask.

    A boundary voxel is a voxel of the mask with at least one of its 6 face neighbours outside
    the mask; everything beyond the volume is outside. This is MONAI's definition [2]_.

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x)
    spacing : tuple of float
        Distance between neighbouring voxels along (z, y, x), mm.

    Returns
    -------
    prediction_distances : ndarray of float32, shape (boundary voxels of the prediction,)
        Distances in mm to the boundary of the truth; infinite if the truth is empty.
    truth_distances : ndarray of float32, shape (boundary voxels of the truth,)
        Distances in mm to the boundary of the prediction; infinite if the prediction is empty.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _require_same_shape(prediction, truth)
    box = _union_box(prediction, truth)
    prediction_points = _boundary_points(prediction[box], spacing)
    truth_points = _boundary_points(truth[box], spacing)
    return (
        _nearest_distances(prediction_points, truth_points),
        _nearest_distances(truth_points, prediction_points),
    )


def hausdorff95(prediction_distances: np.ndarray, truth_distances: np.ndarray) -> float:
    """Symmetric 95 % Hausdorff distance as MONAI defines it [2]_.

    It is the greater of the two directed distances, each the 95th percentile (with linear
    interpolation) of the distances from one boundary to the other.

    Parameters
    ----------
    prediction_distances, truth_distances : ndarray of float, shape (boundary voxels,)
        Both results of `surface_distances`, mm.

    Returns
    -------
    float
        Distance in mm; nan if a mask is empty, because a mean over cases would be drawn towards
        0 by those that have nothing to measure.
    """
    if prediction_distances.size == 0 or truth_distances.size == 0:
        return float("nan")
    return float(max(np.percentile(prediction_distances, 95), np.percentile(truth_distances, 95)))


def surface_dice(
    prediction_distances: np.ndarray, truth_distances: np.ndarray, tolerance_mm: float
) -> float:
    """Share of the boundary voxels of both masks within the tolerance of the other boundary.

    This is the surface Dice of Nikolov et al. [3]_ with the area of a boundary taken as its
    number of voxels, as in MONAI without subvoxels [2]_.

    Parameters
    ----------
    prediction_distances, truth_distances : ndarray of float, shape (boundary voxels,)
        Both results of `surface_distances`, mm.
    tolerance_mm : float
        Greatest distance that still counts as agreement, mm.

    Returns
    -------
    float
        Between 0 and 1. 1.0 if both masks are empty, 0.0 if one of them is.
    """
    total = prediction_distances.size + truth_distances.size
    if total == 0:
        return 1.0
    within = np.count_nonzero(prediction_distances <= tolerance_mm) + np.count_nonzero(
        truth_distances <= tolerance_mm
    )
    return float(within / total)


def surface_area_dice(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: tuple[float, float, float],
    tolerance_mm: float,
) -> float:
    """Share of the area of both surfaces within the tolerance of the other, DeepMind's [3]_.

    A surface runs between voxels: where 2x2x2 voxels, those beyond the volume outside, are neither
    all inside nor all outside, it has an element at their middle, of the area that marching cubes
    give it. KiTS21 and KiTS23 are scored by this.

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x)
    spacing : tuple of float
        Distance between neighbouring voxels along (z, y, x), mm.
    tolerance_mm : float
        Greatest distance that still counts as agreement, mm.

    Returns
    -------
    float
        Between 0 and 1. 1.0 if both masks are empty, 0.0 if one of them is.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    # The published table of areas, which takes a third of a second to import.
    from surface_distance import lookup_tables

    _require_same_shape(prediction, truth)
    box = _union_box(prediction, truth)
    areas = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    elements = []
    for mask in (prediction[box], truth[box]):
        padded, codes = np.pad(mask, 1), np.zeros(np.add(mask.shape, 1), np.uint8)
        for corner, code in np.ndenumerate(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL):
            there = zip(corner, codes.shape, strict=True)
            codes += padded[tuple(slice(c, c + n) for c, n in there)] * np.uint8(code)
        surface = (codes != 0) & (codes != 255)
        elements.append((np.argwhere(surface) * spacing, areas[codes[surface]]))
    (predicted, predicted_areas), (true, true_areas) = elements
    total = predicted_areas.sum() + true_areas.sum()
    if not total:
        return 1.0
    within = (
        predicted_areas[_nearest_distances(predicted, true) <= tolerance_mm].sum()
        + true_areas[_nearest_distances(true, predicted) <= tolerance_mm].sum()
    )
    return float(within / total)


def relative_volume_error(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Signed relative error of the segmented volume, (|P| - |T|) / |T|.

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x)

    Returns
    -------
    float
        Positive if the prediction is too large, nan if the truth is empty.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _require_same_shape(prediction, truth)
    truth_volume = np.count_nonzero(truth)
    if truth_volume == 0:
        return float("nan")
    return float((np.count_nonzero(prediction) - truth_volume) / truth_volume)


def detection(prediction: np.ndarray, truth: np.ndarray) -> Detection:
    """Outcome of the detection of a lesion in one case.

    A single voxel decides: a lesion is found if at least one voxel predicted as such lies in the
    true one, and a false alarm is raised by any predicted voxel.

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x)

    Returns
    -------
    {"found", "missed", "absent", "false alarm"}
        The first two for a case with a true lesion. The last two for a case without one:
        "absent" if none is predicted either.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    _require_same_shape(prediction, truth)
    if truth.any():
        return "found" if (prediction & truth).any() else "missed"
    return "false alarm" if prediction.any() else "absent"


def case_metrics(
    prediction_labels: np.ndarray,
    truth_labels: np.ndarray,
    spacing: tuple[float, float, float],
    labels: Labels = KITS19,
) -> dict[str, float | str]:
    """All metrics of one case: one row of the table of scores.

    Parameters
    ----------
    prediction_labels, truth_labels : ndarray of uint8, shape (z, y, x)
    spacing : tuple of float
        Distance between neighbouring voxels along (z, y, x), mm.

    Returns
    -------
    dict
        For each region ``<region>_dice``, and their mean ``composite``; ``<region>_hd95`` in mm;
        ``<region>_surface_dice`` and DeepMind's ``<region>_surface_area_dice`` at its tolerance;
        ``<region>_volume_error``; and for lesions ``<region>_detection``.

    Raises
    ------
    ValueError
        If the shapes differ or a label is none of the table's.
    """
    _require_same_shape(prediction_labels, truth_labels)
    # No metric depends on the voxels that are background in both volumes.
    box = _union_box(prediction_labels, truth_labels)
    prediction, truth = prediction_labels[box], truth_labels[box]
    dices = region_dice(prediction, truth, labels)
    masks = {r.name: (r.mask(prediction), r.mask(truth)) for r in labels.regions}
    distances = {name: surface_distances(*pair, spacing) for name, pair in masks.items()}
    scores: dict[str, float | str] = {f"{name}_dice": value for name, value in dices.items()}
    scores["composite"] = sum(dices.values()) / len(dices)
    for name, pair in distances.items():
        scores[f"{name}_hd95"] = hausdorff95(*pair)
    for region in labels.regions:
        of_voxels = surface_dice(*distances[region.name], region.tolerance_mm)
        scores[f"{region.name}_surface_dice"] = of_voxels
    for region in labels.regions:
        of_areas = surface_area_dice(*masks[region.name], spacing, region.tolerance_mm)
        scores[f"{region.name}_surface_area_dice"] = of_areas
    for name, pair in masks.items():
        scores[f"{name}_volume_error"] = relative_volume_error(*pair)
    for region in labels.regions:
        if region.lesion:
            scores[f"{region.name}_detection"] = detection(*masks[region.name])
    return scores


def _require_same_shape(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction has shape {prediction.shape}, but truth has shape {truth.shape}"
        )


def _dice_of_counts(overlap: int | np.integer, total: int | np.integer) -> float:
    return float(2 * overlap / total) if total else 1.0


def _dice_of_confusion(confusion: np.ndarray, region: Region) -> float:
    values = list(region.labels)
    return _dice_of_counts(
        overlap=confusion[np.ix_(values, values)].sum(),
        total=confusion[values, :].sum() + confusion[:, values].sum(),
    )


def _union_box(first: np.ndarray, second: np.ndarray) -> tuple[slice, ...]:
    """Smallest box that holds all non-zero voxels of both volumes."""
    box: tuple[slice, ...] = ()
    for axis in range(first.ndim):
        # Cropping along each axis in turn leaves little to read for the next one.
        others = tuple(other for other in range(first.ndim) if other != axis)
        occupied = np.flatnonzero(first[box].any(axis=others) | second[box].any(axis=others))
        box += (slice(occupied[0], occupied[-1] + 1) if occupied.size else slice(0),)
    return box


def _boundary_points(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Positions of the boundary voxels in mm, shape (boundary voxels, 3)."""
    return np.argwhere(mask & ~binary_erosion(mask)) * spacing


def _nearest_distances(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Distance from each point to the nearest target, mm.

    A k-d tree of the few boundary voxels is faster than a distance transform of the box, the
    more so where a stray voxel enlarges the box. Single precision removes the rounding errors
    that could push a distance equal to a tolerance beyond it.
    """
    distances, _ = KDTree(targets).query(points)
    return np.asarray(distances, np.float32)
