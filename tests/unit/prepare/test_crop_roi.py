"""Regions of interest: cut out of the native images, and arrays that say where they come from."""

from dataclasses import replace
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from renal.errors import InputError
from renal.handover.predictions import native_mask_of, write_probabilities
from renal.handover.prepared import PreparedCase, read_images, read_index, read_labels
from renal.image.boxes import slices, whole_volume
from renal.image.grids import labels_to_grid, to_grid, to_native
from renal.image.volume import read_header, read_label, read_volume
from renal.prepare import intensity
from renal.prepare.crop_roi import crop_roi, true_mask
from renal.prepare.intensity import normalize, statistics_of
from renal.prepare.settings import Intensity, RegionCrop

from .helpers import INTENSITY, LABELLED, expected_names, names


def region_crop(
    minimum_voxels=0, geometry=None, of_slices=False, components=None, least=(None,) * 3, **regions
):
    return RegionCrop(
        geometry={"size": (8, 12, 10)} if geometry is None else geometry,
        intensity=INTENSITY,
        regions={"stage": "whole", "count": 2, "repeat": True, "margin_voxels": 2, **regions},
        components=components or {"minimum_voxels": minimum_voxels, "keep": 2},
        of_slices=of_slices,
        least=least,
    )


def known(mask):
    """A source of masks that gives this one for every case, looked for in the whole volume."""
    return lambda _: (mask, whole_volume(mask.shape))


def no_mask(case):
    return known(np.zeros(case.shape, bool))(case)


def truth_of(case):
    return true_mask(case)[0]


def crop(checked, folder, settings, mask_of=true_mask, threads=1):
    empty = crop_roi(checked[:3], settings, mask_of, folder, threads=threads)
    return empty, read_index(folder)


def test_regions_are_cut_out_and_brought_onto_the_grid(checked, tmp_path):
    settings = region_crop()
    empty, index = crop(checked, tmp_path / "roi", settings, threads=2)
    assert empty == [] and list(index) == LABELLED
    assert names(tmp_path / "roi") == expected_names(LABELLED, LABELLED, regions=2)
    for case in checked[:3]:
        prepared = index[case.name]
        assert prepared.shape == tuple(case.shape) and len(prepared.boxes) == 2
        volume = read_volume(read_header(case.image))
        label = read_label(read_header(case.label))
        assert sum((label[slices(box)] > 0).sum() for box in prepared.boxes) >= (label > 0).sum()
        images, labels = (read(tmp_path / "roi", prepared) for read in (read_images, read_labels))
        whole = normalize(volume, INTENSITY).astype(np.float32)
        for box, image, truth in zip(prepared.boxes, images, labels, strict=True):
            assert image.dtype == np.float16 and truth.dtype == np.uint8
            assert image.shape == truth.shape == settings.geometry.size
            expected = to_grid(whole, box, settings.geometry.size)
            np.testing.assert_allclose(image, expected, atol=1e-3)
            expected = labels_to_grid(label, box, settings.geometry.size)
            np.testing.assert_array_equal(truth, expected)


@pytest.mark.parametrize(
    ("steps", "counts"),
    [
        ({"window": (-200, 300), "rescale": (0, 1)}, 0),
        ({"rescale": (0, 1)}, 0),
        ({"window": (-200, 300), "standardize": True}, 1),
    ],
)
def test_a_cts_values_are_counted_once_where_they_are_needed(
    checked, tmp_path, monkeypatch, steps, counts
):
    counted = []
    histogram = intensity._histogram
    monkeypatch.setattr(
        intensity, "_histogram", lambda *args: counted.append(args) or histogram(*args)
    )
    settings = region_crop().model_copy(update={"intensity": Intensity(**steps)})
    crop_roi(checked[:1], settings, true_mask, tmp_path)
    assert len(read_index(tmp_path)[checked[0].name].boxes) == 2
    assert len(counted) == counts


def grid_of(box, image):
    return whole_volume([high - low for low, high in box]), image.shape


def test_a_masked_region_is_zero_outside_of_the_mask(checked, tmp_path):
    # In a range from 1 to 2 no voxel is zero of itself.
    settings = region_crop(mask=True)
    settings = settings.model_copy(update={"intensity": Intensity(rescale=(1, 2))})
    _, index = crop(checked, tmp_path / "roi", settings)
    for case in checked[:3]:
        mask = truth_of(case)
        for box, image in zip(
            index[case.name].boxes, read_images(tmp_path / "roi", index[case.name]), strict=True
        ):
            # A voxel of the grid between native voxels mixes its neighbours, masked or not.
            share = to_grid(mask[slices(box)].astype(np.float32), *grid_of(box, image))
            assert (share == 0).any() and (share == 1).any()
            assert (image[share == 0] == 0).all()
            assert (image[share == 1] >= 1).all()


@pytest.mark.parametrize("masked_hu", [0, -1000, 3000])
def test_a_region_may_be_masked_in_the_scan_before_it_is_normalised(checked, tmp_path, masked_hu):
    settings = region_crop(geometry={}, mask=True, masked_hu=masked_hu)
    _, index = crop(checked, tmp_path / "roi", settings)
    for case in checked[:3]:
        mask, volume = truth_of(case), read_volume(read_header(case.image))
        whole = normalize(volume, INTENSITY)
        value = np.full((1, 1, 1), masked_hu, np.int16)
        outside = normalize(value, INTENSITY, statistics_of(volume, INTENSITY)).item()
        images = read_images(tmp_path / "roi", index[case.name])
        for box, image in zip(index[case.name].boxes, images, strict=True):
            held = mask[slices(box)]
            assert held.any() and not held.all()
            np.testing.assert_array_equal(image[held], whole[slices(box)][held])
            assert (image[~held] == outside).all()


@pytest.mark.parametrize("masked_hu", [None, 0])
def test_labels_are_masked_with_their_images(checked, tmp_path, masked_hu):
    case = checked[0]
    label = read_label(read_header(case.label))
    # Half of what the label shows, in every slice, and a voxel that it does not.
    mask = (label > 0) & (np.indices(label.shape)[2] % 2 == 0)
    mask[0, 0, 0] = True
    for masked in (True, False):
        region = {"join": True, "count": 1, "margin_voxels": 0, "mask": masked}
        region |= {"masked_hu": masked_hu} if masked else {}
        settings = region_crop(geometry={}, components={"minimum_voxels": 1}, **region)
        folder = tmp_path / str(masked)
        crop_roi([case], settings, known(mask), folder)
        prepared = read_index(folder)[case.name]
        (truth,), (box,) = read_labels(folder, prepared), prepared.boxes
        expected = label * mask if masked else label
        assert truth.dtype == np.uint8
        np.testing.assert_array_equal(truth, expected[slices(box)])


def test_predicted_regions_come_without_labels(checked, tmp_path):
    crop_roi(checked[:3], region_crop(), true_mask, tmp_path, labels=None)
    assert names(tmp_path) == expected_names(LABELLED, [], regions=2)


def test_a_mask_without_a_region_gives_a_case_without_boxes(checked, tmp_path):
    empty, index = crop(checked, tmp_path / "none", region_crop(), no_mask)
    assert empty == LABELLED and names(tmp_path / "none") == ["cases.json"]
    for case in checked[:3]:
        assert index[case.name] == PreparedCase(case.name, tuple(case.shape), [])
        assert read_images(tmp_path / "none", index[case.name]) == []
        assert read_labels(tmp_path / "none", index[case.name]) == []
    empty, _ = crop(checked, tmp_path / "small", region_crop(minimum_voxels=10**6))
    assert empty == LABELLED


def test_an_unlabelled_case_has_regions_but_no_labels(checked, tmp_path):
    folder, unlabelled = tmp_path / "roi", replace(checked[0], label=None)
    mask = truth_of(checked[0])
    assert crop_roi([unlabelled], region_crop(), known(mask), folder) == []
    assert names(folder) == expected_names([unlabelled.name], [], regions=2)
    with pytest.raises(InputError, match="missing"):
        read_labels(folder, read_index(folder)[unlabelled.name])


def test_a_region_on_its_own_grid_comes_back_to_its_place(checked, tmp_path):
    _, index = crop(checked, tmp_path / "roi", region_crop(margin_voxels=0))
    for case in checked[:3]:
        truth, restored = truth_of(case), np.zeros(case.shape, bool)
        labels = read_labels(tmp_path / "roi", index[case.name])
        for box, label in zip(index[case.name].boxes, labels, strict=True):
            probability = (label > 0).astype(np.float32)
            native, native_box = to_native(probability, box)
            assert native_box == box
            restored[slices(native_box)] |= native > 0.5
        common = 2 * (restored & truth).sum() / (restored.sum() + truth.sum())
        assert common > 0.8  # the grid is coarse, but nothing is shifted


def halves(mask):
    """A mask, moved so that it is cut by the volume's first and last slices."""
    bottom = np.roll(mask, len(mask) // 2, axis=0)
    assert bottom[0].any() and bottom[-1].any()
    return bottom


def test_a_region_that_the_volume_cuts_ends_at_its_edge(checked, tmp_path):
    case = checked[0]
    cut = halves(truth_of(case))
    crop_roi([case], region_crop(margin_mm=(20, 20, 20)), known(cut), tmp_path)
    boxes = read_index(tmp_path)[case.name].boxes
    assert len(boxes) == 2
    for box in boxes:
        assert all(0 <= low < high <= n for (low, high), n in zip(box, case.shape, strict=True))
        assert box[0][0] == 0 or box[0][1] == case.shape[0]
    assert all(
        image.shape == (8, 12, 10)
        for image in read_images(tmp_path, read_index(tmp_path)[case.name])
    )


@pytest.mark.parametrize(
    ("kidneys", "repeat", "expected"),
    [
        (2, False, 2),
        (1, False, 1),
        (1, True, 2),
        (2, True, 2),
    ],
)
def test_a_solitary_or_fused_kidney_is_one_region_unless_repeated(
    checked, tmp_path, kidneys, repeat, expected
):
    case, mask = checked[0], np.zeros(checked[0].shape, bool)
    mask[4:8, 10:20, 10:20] = True
    mask[5:8, 10:20, 30:40] = True
    if kidneys == 1:
        mask[6, 12, 20:30] = True  # fused: one component
    crop_roi([case], region_crop(repeat=repeat, margin_voxels=0), known(mask), tmp_path)
    boxes = read_index(tmp_path)[case.name].boxes
    left, right = ((4, 8), (10, 20), (10, 20)), ((5, 8), (10, 20), (30, 40))
    both = ((4, 8), (10, 20), (10, 40))
    assert boxes == ([left, right] if kidneys == 2 else [both, both])[:expected]
    assert len(list(tmp_path.glob("*.image.npy"))) == expected


def test_at_native_resolution_a_region_is_what_the_scan_holds(checked, tmp_path):
    settings = region_crop(geometry={}, margin_voxels=1)
    _, index = crop(checked, tmp_path / "roi", settings)
    for case in checked[:3]:
        prepared = index[case.name]
        whole = normalize(read_volume(read_header(case.image)), INTENSITY).astype(np.float32)
        label = read_label(read_header(case.label))
        images, labels = (read(tmp_path / "roi", prepared) for read in (read_images, read_labels))
        for box, image, truth in zip(prepared.boxes, images, labels, strict=True):
            np.testing.assert_array_equal(image, whole[slices(box)].astype(np.float16))
            np.testing.assert_array_equal(truth, label[slices(box)])


# -- true regions that are moved about ------------------------------------------------------------


@pytest.mark.parametrize("geometry", [{}, {"spacing": (1.5, None, 2)}, {"size": (40, 60, 50)}])
def test_the_true_box_can_be_told_from_box_and_slack(checked, tmp_path, geometry):
    jitter = (7, 9, 12)
    steady = region_crop(geometry=geometry, margin_voxels=1)
    moved = region_crop(geometry=geometry, margin_voxels=1, jitter_mm=jitter)
    _, proper = crop(checked, tmp_path / "steady", steady)
    _, index = crop(checked, tmp_path / "moved", moved)
    for case in checked[:3]:
        assert proper[case.name].slack == []
        prepared = index[case.name]
        images = read_images(tmp_path / "moved", prepared)
        assert len(prepared.slack) == len(prepared.boxes) == len(proper[case.name].boxes)
        for wide, slack, box, image in zip(
            prepared.boxes, prepared.slack, proper[case.name].boxes, images, strict=True
        ):
            for axis in range(3):
                (first, last), (low, high), length = wide[axis], box[axis], image.shape[axis]
                reach = round(jitter[axis] / case.spacing[axis])
                assert (first, last) == (max(0, low - reach), min(case.shape[axis], high + reach))
                voxel = (last - first) / length  # of the grid, in native ones
                before, behind = slack[axis]
                # Whole voxels of the grid, never more than there are.
                assert 0 <= low - (first + before * voxel) < voxel
                assert 0 <= (last - behind * voxel) - high < voxel


def test_slack_is_exact_at_native_resolution_and_ends_at_the_edge(checked, tmp_path):
    case, mask = checked[0], np.zeros(checked[0].shape, bool)
    mask[1:4, 20:30, 40:64] = True
    jitter = [4 * step for step in case.spacing]
    settings = region_crop(geometry={}, count=1, margin_voxels=0, jitter_mm=jitter)
    crop_roi([case], settings, known(mask), tmp_path)
    prepared = read_index(tmp_path)[case.name]
    assert case.shape[2] == 64
    assert prepared.boxes == [((0, 8), (16, 34), (36, 64))]
    assert prepared.slack == [((1, 4), (4, 4), (4, 0))]


# -- regions from a stage that tells slices -------------------------------------------------------


def test_a_region_of_slices_is_a_slab_of_the_volume(checked, tmp_path):
    settings = region_crop(
        of_slices=True, geometry={}, count=1, mask=True, components={"runs": {"smooth": 25}}
    )
    _, index = crop(checked, tmp_path / "roi", settings)
    for case in checked[:3]:
        rows = np.flatnonzero(truth_of(case).any(axis=(1, 2)))
        low, high = max(0, rows[0] - 2), min(case.shape[0], rows[-1] + 1 + 2)
        assert index[case.name].boxes == [((low, high), (0, case.shape[1]), (0, case.shape[2]))]
        (image,) = read_images(tmp_path / "roi", index[case.name])
        (label,) = read_labels(tmp_path / "roi", index[case.name])
        # Masked are the slices of the margin, nothing else.
        held = np.zeros(case.shape[0], bool)
        held[rows[0] : rows[-1] + 1] = True
        assert not image[~held[low:high]].any()
        whole = normalize(read_volume(read_header(case.image)), INTENSITY)
        np.testing.assert_array_equal(image[held[low:high]], whole[held])
        np.testing.assert_array_equal(label, read_label(read_header(case.label))[low:high])


def test_true_regions_reach_as_far_as_predicted_ones_along_axes_that_are_not_cut(checked, tmp_path):
    slab = region_crop(of_slices=True, geometry={}, count=1, repeat=False, axes=("z",))
    _, index = crop(checked, tmp_path / "slab", slab)
    # A stage that finds all of the truth in its slab.
    for case in checked[:3]:
        (label,) = read_labels(tmp_path / "slab", index[case.name])
        found = (label > 0).astype(np.float32)
        write_probabilities(tmp_path / "slab", index[case.name], [found[None]])
    settings = region_crop(geometry={}, join=True, count=1, repeat=False, axes=("y", "x"))
    true, predicted = (
        partial(true_mask, outer=slab.regions),
        partial(native_mask_of, tmp_path / "slab"),
    )
    _, of_truth = crop(checked, tmp_path / "true", settings, true)
    _, of_prediction = crop(checked, tmp_path / "predicted", settings, predicted)
    assert of_truth == of_prediction
    for case in checked[:3]:
        mask, extent = true(case)
        np.testing.assert_array_equal(mask, predicted(case)[0])
        assert extent == predicted(case)[1] == index[case.name].boxes[0]
        rows = np.flatnonzero(mask.any(axis=(1, 2)))
        low, high = extent[0]
        assert (low, high) == (max(0, rows[0] - 2), min(case.shape[0], rows[-1] + 3))
        # Margins of both stages.
        assert of_truth[case.name].boxes[0][0] == (max(0, low - 2), min(case.shape[0], high + 2))
    assert any(true(case)[1] != whole_volume(case.shape) for case in checked[:3])


def test_without_regions_of_its_own_a_stage_looks_at_the_whole_volume(checked, tmp_path):
    case = checked[0]
    assert true_mask(case)[1] == whole_volume(case.shape)
    outer = region_crop(axes=("z",)).regions
    header = nib.load(case.label)
    empty = nib.Nifti1Image(np.zeros(header.shape, np.uint8), header.affine)
    nib.save(empty, tmp_path / "empty.nii.gz")
    mask, extent = true_mask(replace(case, label=str(tmp_path / "empty.nii.gz")), outer)
    assert not mask.any() and extent == whole_volume(case.shape)


def test_a_median_over_slices_takes_a_stray_slice_off(checked, tmp_path):
    case, mask = checked[0], np.zeros(checked[0].shape, bool)
    mask[2] = True
    mask[8:16, 5, 5] = True
    mask[11] = False
    slab = {"of_slices": True, "count": 1, "margin_voxels": 0}
    for smooth, rows in ((5, (8, 16)), (None, (12, 16))):
        step = case.spacing[0]
        components = {"runs": {"smooth": 5 * step} if smooth else {"least": 4 * step}}
        settings = region_crop(**slab, components=components)
        crop_roi([case], settings, known(mask), tmp_path / str(smooth))
        (box,) = read_index(tmp_path / str(smooth))[case.name].boxes
        assert box == (rows, *whole_volume(case.shape)[1:])


def test_a_small_region_has_as_many_voxels_as_a_patch_that_looks_at_it(checked, tmp_path):
    """What lies around a small kidney is the scan, not padding."""
    case, mask = checked[0], np.zeros(checked[0].shape, bool)
    mask[6:8, 20:24, 2:4] = True
    slab = {"geometry": {"spacing": [case.spacing[0] / 2, None, None]}, "count": 1}
    settings = region_crop(**slab, margin_voxels=0, least=(12, 32, 10))
    crop_roi([case], settings, known(mask), tmp_path)
    prepared = read_index(tmp_path)[case.name]
    assert prepared.boxes == [((4, 10), (6, 38), (0, 10))]
    (image,) = read_images(tmp_path, prepared)
    assert image.shape == (12, 32, 10)


def test_as_many_voxels_as_a_patch_has_are_rounded_up(checked, tmp_path):
    """Five of half a voxel are two and a half: of two voxels, there would be four."""
    case, mask = checked[0], np.zeros(checked[0].shape, bool)
    mask[6, 20, 5] = True
    half = {"spacing": [step / 2 for step in case.spacing]}
    settings = region_crop(geometry=half, count=1, margin_voxels=0, least=(5, 5, 5))
    crop_roi([case], settings, known(mask), tmp_path)
    (image,) = read_images(tmp_path, read_index(tmp_path)[case.name])
    assert image.shape == (6, 6, 6)
