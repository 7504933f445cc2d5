"""Tests of the segmentation metrics against hand-computed cases, the official script and MONAI."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from renal.evaluate import metrics
from renal.image.volume import read_header, read_label
from renal.labels import KITS19, Labels
from renal.recipe.schemes import KITS23

REAL = Path(__file__).resolve().parents[4] / "shared/kits23/data"

SHAPE = (5, 6, 7)
SPACING = (3.0, 0.8, 0.7)

masks = arrays(bool, (2, 3, 4))
label_volumes = arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 2))


def empty_mask() -> np.ndarray:
    return np.zeros(SHAPE, dtype=bool)


def block_mask(z: slice, y: slice, x: slice) -> np.ndarray:
    mask = empty_mask()
    mask[z, y, x] = True
    return mask


def random_blob(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(14, 22, 26))
    smooth = gaussian_filter(noise, sigma=(1.5, 2.5, 2.5))
    return smooth > np.quantile(smooth, 0.8)


def official_dice(predictions: np.ndarray, gt: np.ndarray) -> tuple[float, float]:
    """Apply the formula of the official KiTS19 script to the whole volumes."""
    tk_dice = 2 * ((predictions > 0) & (gt > 0)).sum() / ((predictions > 0).sum() + (gt > 0).sum())
    tu_dice = (
        2 * ((predictions == 2) & (gt == 2)).sum() / ((predictions == 2).sum() + (gt == 2).sum())
    )
    return tk_dice, tu_dice


class TestDice:
    def test_hand_computed(self):
        prediction = np.array([[[1, 1, 1, 0]]], dtype=bool)
        truth = np.array([[[0, 1, 1, 1]]], dtype=bool)
        assert metrics.dice(prediction, truth) == pytest.approx(4 / 6)

    def test_empty_masks(self):
        block = block_mask(slice(1, 3), slice(1, 3), slice(1, 3))
        assert metrics.dice(empty_mask(), empty_mask()) == 1.0
        assert metrics.dice(block, empty_mask()) == 0.0
        assert metrics.dice(empty_mask(), block) == 0.0

    def test_rejects_different_shapes(self):
        with pytest.raises(ValueError, match="shape"):
            metrics.dice(np.ones((1, 2, 3), dtype=bool), np.ones((3, 2, 1), dtype=bool))

    @given(masks, masks)
    def test_is_symmetric_and_bounded(self, first, second):
        score = metrics.dice(first, second)
        assert score == metrics.dice(second, first)
        assert 0.0 <= score <= 1.0

    @given(masks, masks)
    def test_is_one_only_for_equal_masks(self, first, second):
        assert (metrics.dice(first, second) == 1.0) == np.array_equal(first, second)
        assert metrics.dice(first, first) == 1.0


class TestRegionDice:
    def test_hand_computed(self):
        prediction = np.array([[[0, 1, 2, 2, 0]]], dtype=np.uint8)
        truth = np.array([[[1, 1, 1, 2, 0]]], dtype=np.uint8)
        scores = metrics.region_dice(prediction, truth)
        assert list(scores) == ["kidney", "tumour"]
        assert scores["kidney"] == pytest.approx(6 / 7)
        assert scores["tumour"] == pytest.approx(2 / 3)

    def test_confusion_matrix_counts_the_background_outside_the_box(self):
        prediction, truth = np.zeros((2, *SHAPE), dtype=np.uint8)
        prediction[1, 2, 3] = 1
        truth[1, 2, 3] = 2
        truth[3, 3, 3] = 1
        np.testing.assert_array_equal(
            metrics.confusion_matrix(prediction, truth),
            [[prediction.size - 2, 0, 0], [1, 0, 0], [0, 1, 0]],
        )

    @given(label_volumes, label_volumes)
    def test_confusion_matrix_equals_direct_count(self, prediction, truth):
        expected = [
            [np.count_nonzero((truth == t) & (prediction == p)) for p in range(3)] for t in range(3)
        ]
        np.testing.assert_array_equal(metrics.confusion_matrix(prediction, truth), expected)

    @pytest.mark.parametrize("values", [15, 16, 255])
    def test_many_labels_are_told_apart(self, values):
        """Pairs of them are more than a byte holds."""
        labels = Labels(dict.fromkeys(range(1, values + 1), ""), regions=())
        prediction, truth = np.random.default_rng(0).integers(1, values + 1, (2, 9, 9, 9), np.uint8)
        expected = np.zeros((values + 1, values + 1), int)
        np.add.at(expected, (truth, prediction), 1)
        np.testing.assert_array_equal(metrics.confusion_matrix(prediction, truth, labels), expected)

    @pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
    @given(label_volumes, label_volumes)
    def test_equals_official_script(self, prediction, truth):
        scores = metrics.region_dice(prediction, truth)
        official_scores = official_dice(prediction, truth)
        for score, official in zip(scores.values(), official_scores, strict=True):
            assert score == (1.0 if math.isnan(official) else pytest.approx(official))

    def test_empty_volumes(self):
        empty = np.zeros(SHAPE, dtype=np.uint8)
        full = np.full_like(empty, 2)
        assert metrics.region_dice(empty, empty) == {"kidney": 1.0, "tumour": 1.0}
        assert metrics.region_dice(empty, full) == {"kidney": 0.0, "tumour": 0.0}

    def test_rejects_unknown_labels(self):
        labels = np.full(SHAPE, 3, dtype=np.uint8)
        with pytest.raises(ValueError, match="0 background, 1 parenchyma and 2 tumour only"):
            metrics.region_dice(labels, labels)

    def test_rejects_different_shapes(self):
        with pytest.raises(ValueError, match="shape"):
            metrics.region_dice(np.ones((1, 2, 3), np.uint8), np.ones((3, 2, 1), np.uint8))


class TestSurfaceDistances:
    def test_interior_voxel_is_not_boundary(self):
        block = block_mask(slice(1, 4), slice(1, 4), slice(1, 4))
        centre = block_mask(slice(2, 3), slice(2, 3), slice(2, 3))
        block_distances, centre_distances = metrics.surface_distances(block, centre, SPACING)
        assert block_distances.shape == (26,)
        # The nearest boundary voxel is the neighbour along x, the axis of finest spacing.
        np.testing.assert_allclose(centre_distances, [0.7])
        assert block_distances.max() == pytest.approx(math.hypot(3.0, 0.8, 0.7))

    def test_voxels_at_the_edge_of_the_volume_are_boundary(self):
        full = np.ones((3, 3, 3), dtype=bool)
        distances, _ = metrics.surface_distances(full, full, SPACING)
        np.testing.assert_array_equal(distances, np.zeros(26))

    def test_empty_mask_is_infinitely_far(self):
        voxel = block_mask(slice(2, 3), slice(2, 3), slice(2, 3))
        prediction_distances, truth_distances = metrics.surface_distances(
            empty_mask(), voxel, SPACING
        )
        assert prediction_distances.size == 0
        np.testing.assert_array_equal(truth_distances, [np.inf])

    def test_rejects_different_shapes(self):
        with pytest.raises(ValueError, match="shape"):
            metrics.surface_distances(empty_mask(), empty_mask()[1:], SPACING)


class TestHausdorff95:
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_plate_moved_by_one_voxel(self, axis):
        """A plate across an axis, moved along it, is everywhere one spacing away."""
        truth = np.zeros((8, 8, 8), dtype=bool)
        np.moveaxis(truth, axis, 0)[3] = True
        distances = metrics.surface_distances(np.roll(truth, 1, axis), truth, SPACING)
        assert metrics.hausdorff95(*distances) == pytest.approx(SPACING[axis])

    def test_is_the_greater_directed_percentile(self):
        near, far = np.zeros(10), np.arange(21.0)
        assert metrics.hausdorff95(near, far) == metrics.hausdorff95(far, near) == 19.0

    def test_empty_masks(self):
        voxel = block_mask(slice(2, 3), slice(2, 3), slice(2, 3))

        def distance(prediction, truth):
            return metrics.hausdorff95(*metrics.surface_distances(prediction, truth, SPACING))

        assert math.isnan(distance(empty_mask(), empty_mask()))
        assert math.isnan(distance(voxel, empty_mask()))
        assert math.isnan(distance(empty_mask(), voxel))


class TestSurfaceDice:
    def test_hand_computed(self):
        prediction_distances = np.array([0.0, 1.0, 3.0])
        truth_distances = np.array([2.0, 4.0])
        assert metrics.surface_dice(prediction_distances, truth_distances, 2.0) == 3 / 5

    def test_distance_equal_to_the_tolerance_counts(self):
        # In double precision, 14 * 0.6 mm - 9 * 0.6 mm exceeds 3 mm.
        prediction, truth = np.zeros((2, 15, 1, 1), dtype=bool)
        prediction[14] = True
        truth[[0, 9]] = True
        distances, _ = metrics.surface_distances(prediction, truth, (0.6, 1.0, 1.0))
        assert metrics.surface_dice(distances, np.empty(0), 3.0) == 1.0

    def test_empty_masks(self):
        voxel = block_mask(slice(2, 3), slice(2, 3), slice(2, 3))

        def score(prediction, truth):
            distances = metrics.surface_distances(prediction, truth, SPACING)
            return metrics.surface_dice(*distances, tolerance_mm=3.0)

        assert score(empty_mask(), empty_mask()) == 1.0
        assert score(voxel, empty_mask()) == 0.0
        assert score(empty_mask(), voxel) == 0.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(3.0, 0.8, 0.7), (1.0, 1.0, 1.0), (0.5, 0.9, 1.3)])
def test_surface_metrics_equal_monai(monai, seed, spacing):
    import torch  # takes seconds, too

    prediction, truth = random_blob(2 * seed), random_blob(2 * seed + 1)
    batches = {
        "y_pred": torch.from_numpy(prediction)[None, None],
        "y": torch.from_numpy(truth)[None, None],
    }
    options = {"include_background": True, "spacing": spacing}
    distances = metrics.surface_distances(prediction, truth, spacing)

    theirs = monai.metrics
    monai_distance = theirs.compute_hausdorff_distance(**batches, **options, percentile=95)
    assert metrics.hausdorff95(*distances) == pytest.approx(monai_distance.item(), rel=1e-5)
    for tolerance in (1.0, 3.0):
        score = theirs.compute_surface_dice(**batches, **options, class_thresholds=[tolerance])
        found = metrics.surface_dice(*distances, tolerance)
        assert found == pytest.approx(score.item(), rel=1e-5)


class TestRelativeVolumeError:
    def test_hand_computed(self):
        large = block_mask(slice(0, 3), slice(0, 2), slice(0, 1))
        small = block_mask(slice(0, 2), slice(0, 2), slice(0, 1))
        assert metrics.relative_volume_error(large, small) == pytest.approx(0.5)
        assert metrics.relative_volume_error(small, large) == pytest.approx(-1 / 3)
        assert metrics.relative_volume_error(empty_mask(), small) == -1.0

    def test_is_undefined_without_truth(self):
        assert math.isnan(metrics.relative_volume_error(empty_mask(), empty_mask()))


@pytest.mark.parametrize(
    ("prediction", "truth", "outcome"),
    [
        ([0, 1, 2, 2], [2, 2, 2, 1], "found"),
        ([2, 1, 1, 0], [1, 2, 2, 0], "missed"),
        ([1, 1, 1, 0], [1, 2, 2, 0], "missed"),
        ([1, 1, 0, 0], [1, 1, 1, 0], "absent"),
        ([1, 2, 0, 0], [1, 1, 1, 0], "false alarm"),
    ],
)
def test_tumour_detection(prediction, truth, outcome):
    def mask(labels):
        return np.array(labels, dtype=np.uint8).reshape(1, 1, -1) == 2

    assert metrics.detection(mask(prediction), mask(truth)) == outcome


class TestCaseMetrics:
    def test_row_of_a_case(self):
        """Kidney too long by one voxel along y, tumour moved by one voxel along z."""
        truth, prediction = np.zeros((2, 12, 12, 12), dtype=np.uint8)
        truth[2:10, 2:8, 2:8] = 1
        truth[4, 3:7, 3:7] = 2
        prediction[2:10, 2:9, 2:8] = 1
        prediction[5, 3:7, 3:7] = 2
        row = metrics.case_metrics(prediction, truth, (5.0, 1.0, 1.0))
        assert list(row) == [
            "kidney_dice",
            "tumour_dice",
            "composite",
            "kidney_hd95",
            "tumour_hd95",
            "kidney_surface_dice",
            "tumour_surface_dice",
            "kidney_surface_area_dice",
            "tumour_surface_area_dice",
            "kidney_volume_error",
            "tumour_volume_error",
            "tumour_detection",
        ]
        assert row["kidney_dice"] == pytest.approx(12 / 13)
        assert row["tumour_dice"] == 0.0
        assert row["composite"] == pytest.approx(6 / 13)
        assert row["kidney_hd95"] == pytest.approx(1.0)
        assert row["tumour_hd95"] == pytest.approx(5.0)
        assert row["kidney_surface_dice"] == 1.0
        assert row["tumour_surface_dice"] == 0.0
        assert row["kidney_surface_area_dice"] == 1.0
        assert 0 < row["tumour_surface_area_dice"] < 1  # its sides, of the same rows and columns
        assert row["kidney_volume_error"] == pytest.approx(1 / 6)
        assert row["tumour_volume_error"] == 0.0
        assert row["tumour_detection"] == "missed"
        assert {type(value) for value in row.values()} == {float, str}

    def test_each_region_has_a_tolerance_of_its_own(self):
        """Both are the same slice, moved by 2 mm: within the kidney's, beyond the tumour's."""
        truth, prediction = np.zeros((2, 9, 9, 9), dtype=np.uint8)
        truth[3, 2:7, 2:7] = prediction[5, 2:7, 2:7] = 2
        kidney, tumour = KITS19.regions
        labels = replace(KITS19, regions=(kidney, replace(tumour, tolerance_mm=1.0)))
        row = metrics.case_metrics(prediction, truth, (1.0, 1.0, 1.0), labels)
        assert row["kidney_surface_dice"] == row["kidney_surface_area_dice"] == 1
        assert row["tumour_surface_dice"] == 0
        assert row["tumour_surface_area_dice"] < 1

    def test_empty_case(self):
        empty = np.zeros(SHAPE, dtype=np.uint8)
        row = metrics.case_metrics(empty, empty, SPACING)
        assert row["composite"] == 1.0
        assert math.isnan(row["kidney_hd95"])
        assert row["kidney_surface_dice"] == 1.0
        assert row["tumour_detection"] == "absent"

    @settings(max_examples=30)
    @given(label_volumes, label_volumes)
    def test_agrees_with_the_single_metrics(self, prediction, truth):
        """Cropping the case first changes nothing."""
        padded_prediction, padded_truth = np.pad(prediction, 2), np.pad(truth, 2)
        kidney = padded_prediction > 0, padded_truth > 0
        row = metrics.case_metrics(padded_prediction, padded_truth, SPACING)
        distances = metrics.surface_distances(*kidney, SPACING)
        assert row["kidney_dice"] == metrics.dice(*kidney)
        assert row["kidney_hd95"] == pytest.approx(metrics.hausdorff95(*distances), nan_ok=True)
        assert row["tumour_detection"] == metrics.detection(prediction == 2, truth == 2)

    def test_rejects_different_shapes(self):
        with pytest.raises(ValueError, match="shape"):
            metrics.case_metrics(
                np.ones((1, 2, 3), np.uint8), np.ones((3, 2, 1), np.uint8), SPACING
            )


def published_surface_dice(prediction, truth, spacing, tolerance, monkeypatch) -> float:
    """KiTS23's: DeepMind's program, and 1 by the challenge's rule where both masks are empty."""
    if not prediction.any() and not truth.any():
        return 1.0
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)  # it is older than NumPy 2
    distances = surface_distance.compute_surface_distances(truth, prediction, spacing)
    return surface_distance.compute_surface_dice_at_tolerance(distances, tolerance)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestSurfaceAreaDice:
    @pytest.mark.parametrize("seed", range(60))
    def test_random_masks_agree_with_deepminds_program(self, seed, monkeypatch):
        rng = np.random.default_rng(seed)
        truth = rng.random(rng.integers(1, 12, 3)) < rng.uniform(0, 0.9)
        prediction = truth ^ (rng.random(truth.shape) < rng.uniform(0, 0.4))
        prediction &= seed % 10 > 0
        spacing, tolerance = tuple(rng.uniform(0.5, 5, 3)), rng.uniform(0.3, 4)
        assert metrics.surface_area_dice(prediction, truth, spacing, tolerance) == pytest.approx(
            published_surface_dice(prediction, truth, spacing, tolerance, monkeypatch), abs=1e-6
        )

    @pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/kits23")
    @pytest.mark.parametrize("case", ["case_00021", "case_00426"])
    @pytest.mark.parametrize("empty", [False, True])
    def test_kits23s_scores_of_real_labels_are_the_official_ones(self, case, empty, monkeypatch):
        header = read_header(REAL / case / "segmentation.nii.gz")
        truth = read_label(header, KITS23)
        prediction = np.roll(truth, 1, axis=1)  # the next row
        prediction[truth == 3] = 1
        prediction[:] *= not empty
        scores = metrics.case_metrics(prediction, truth, header.spacing, KITS23)
        for region in KITS23.regions:
            one, other = (np.isin(label, region.labels) for label in (prediction, truth))
            dice = 2 * (one & other).sum() / (one.sum() + other.sum())
            assert scores[f"{region.name}_dice"] == pytest.approx(dice, abs=1e-6)
            official = published_surface_dice(
                one, other, header.spacing, region.tolerance_mm, monkeypatch
            )
            assert scores[f"{region.name}_surface_area_dice"] == pytest.approx(official, abs=1e-6)
        assert scores["composite"] == pytest.approx(
            np.mean([scores[f"{name}_dice"] for name in KITS23.names])
        )

    def test_a_distance_equal_to_the_tolerance_counts(self):
        """As that of one slice of 3 mm more or less is."""
        small, large = np.zeros((2, 8, 6, 6), bool)
        small[2:5], large[2:6] = True, True
        for pair in ((small, large), (large, small)):
            assert metrics.surface_area_dice(*pair, (3.0, 0.8, 0.7), 3.0) == 1

    def test_empty_masks_by_the_challenges_rules(self):
        full = ~empty_mask()
        assert metrics.surface_area_dice(empty_mask(), empty_mask(), SPACING, 1.0) == 1
        assert metrics.surface_area_dice(full, empty_mask(), SPACING, 1.0) == 0
        assert metrics.surface_area_dice(empty_mask(), full, SPACING, 1.0) == 0

    def test_other_shapes_are_refused(self):
        with pytest.raises(ValueError, match="shape"):
            metrics.surface_area_dice(empty_mask(), empty_mask()[1:], SPACING, 1.0)
