"""Regions: the body without the table, components by size, and boxes within the volume."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from renal.image.body import body_box
from renal.image.boxes import bounding_box, joined, regions_of, slices, whole_volume, widened
from renal.image.components import clean
from renal.image.settings import Body, Components, Regions
from renal.image.volume import read_header, read_label, read_volume

BODY = Body(threshold_hu=-200, opening_mm=8)


def regions(**changed):
    return Regions(**{"stage": "whole", "count": 2, **changed})


def test_whole_volume():
    assert whole_volume(np.array([4, 5, 6])) == ((0, 4), (0, 5), (0, 6))


# -- body ---------------------------------------------------------------------------------------


def round_body(table=True):
    """An elliptic body, 80 x 120 mm at 2 mm, with air inside, over a thin table."""
    rows, columns = np.indices((64, 80))
    slab = np.full((64, 80), -1000, np.int16)
    slab[((rows - 28) / 20) ** 2 + ((columns - 38) / 30) ** 2 <= 1] = 40
    slab[((rows - 28) / 8) ** 2 + ((columns - 38) / 8) ** 2 <= 1] = -1000
    if table:
        slab[54:57, 4:76] = 100
    return np.stack([np.full_like(slab, -1000), slab, np.full_like(slab, -1000)])


@pytest.mark.parametrize("table", [False, True])
def test_the_body_is_found_and_the_table_is_not(table):
    box = body_box(round_body(table), (5, 2, 2), BODY)
    assert box[0] == (0, 3)
    np.testing.assert_allclose(box[1:], [(8, 49), (8, 69)], atol=1)


def test_a_body_at_the_edge_of_the_image_is_found_whole():
    volume = round_body(table=False)[:, :40, 20:]
    rows, columns = body_box(volume, (5, 2, 2), BODY)[1:]
    assert rows[1] == 40 and columns[0] == 0


def test_without_a_body_the_whole_volume_is_taken():
    air = np.full((3, 20, 30), -1000, np.int16)
    assert body_box(air, (5, 2, 2), BODY) == whole_volume(air.shape)
    air[1, 4:6, 5:8] = 40  # smaller than the opening
    assert body_box(air, (5, 2, 2), BODY) == whole_volume(air.shape)


@pytest.mark.parametrize("name", ["case_00000", "case_00001", "case_00002"])
def test_the_body_of_a_phantom_holds_the_kidneys_and_leaves_air_out(shared_kits19, name):
    image = read_header(shared_kits19 / name / "imaging.nii.gz")
    volume = read_volume(image)
    label = read_label(read_header(shared_kits19 / name / "segmentation.nii.gz"))
    # A fine grid in the plane, as a scanner's is: a pixel of a small phantom is 5.6 mm.
    volume = ndimage.zoom(volume, (1, 4, 4), order=1, grid_mode=True, mode="nearest")
    spacing = (image.spacing[0], image.spacing[1] / 4, image.spacing[2] / 4)
    box = body_box(volume, spacing, BODY)
    label = label.repeat(4, 1).repeat(4, 2)
    assert (label > 0).sum() == (label[slices(box)] > 0).sum()
    rows, columns = box[1:]
    assert rows[1] - rows[0] < volume.shape[1] and columns[1] - columns[0] < volume.shape[2]
    middle = volume[len(volume) // 2]
    components, _ = ndimage.label(middle > -200)
    largest = components == np.bincount(components.ravel())[1:].argmax() + 1
    inside = largest[slices(box[1:])].sum()
    assert inside > 0.97 * largest.sum()


# -- components ---------------------------------------------------------------------------------


def test_bounding_box():
    mask = np.zeros((5, 6, 7), bool)
    assert bounding_box(mask) is None
    mask[1, 2, 3] = mask[3, 2, 6] = True
    assert bounding_box(mask) == ((1, 4), (2, 3), (3, 7))
    assert bounding_box(mask[::-1]) == ((1, 4), (2, 3), (3, 7))


@pytest.fixture
def mask():
    """Components of 8, 27 and 2 voxels; the last two touch by a corner alone."""
    mask = np.zeros((12, 13, 14), bool)
    mask[0:2, 0:2, 0:2] = True
    mask[4:7, 5:8, 6:9] = True
    mask[9, 10, 11] = mask[10, 11, 12] = True
    return mask


SMALL = ((0, 2), (0, 2), (0, 2))
LARGE = ((4, 7), (5, 8), (6, 9))
CORNERS = ((9, 11), (10, 12), (11, 13))


@pytest.mark.parametrize(
    ("settings", "boxes"),
    [
        ({}, [LARGE, SMALL, CORNERS]),
        ({"minimum_voxels": 2}, [LARGE, SMALL, CORNERS]),
        ({"minimum_voxels": 3}, [LARGE, SMALL]),
        ({"minimum_voxels": 8}, [LARGE, SMALL]),
        ({"keep": 1}, [LARGE]),
        ({"keep": 9}, [LARGE, SMALL, CORNERS]),
        ({"keep": 2, "minimum_voxels": 20}, [LARGE]),
        ({"minimum_voxels": 28}, []),
    ],
)
def test_components_are_kept_by_size_largest_first(mask, settings, boxes):
    before = mask.copy()
    cleaned, found = clean(mask, Components(**settings))
    assert found == boxes
    expected = np.zeros_like(mask)
    for box in boxes:
        expected[slices(box)] = mask[slices(box)]
    np.testing.assert_array_equal(cleaned, expected)
    assert cleaned.dtype == bool
    np.testing.assert_array_equal(mask, before)


def test_an_empty_mask_has_no_components():
    cleaned, boxes = clean(np.zeros((3, 4, 5), bool), Components(keep=2))
    assert boxes == [] and not cleaned.any() and cleaned.shape == (3, 4, 5)


def test_components_are_those_of_scipy_on_noise():
    noise = np.random.default_rng(0).random((14, 15, 16)) < 0.04
    labels, count = ndimage.label(noise, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    cleaned, boxes = clean(noise, Components(minimum_voxels=3))
    np.testing.assert_array_equal(cleaned, np.isin(labels, 1 + np.flatnonzero(sizes >= 3)))
    assert 0 < len(boxes) == (sizes >= 3).sum() < count


def test_both_kidneys_of_a_phantom_are_found(shared_kits19):
    header = read_header(shared_kits19 / "case_00000" / "segmentation.nii.gz")
    whole = read_label(header) > 0
    _, boxes = clean(whole, Components(keep=2))
    (_, _, first), (_, _, second) = boxes
    assert first[1] <= second[0] or second[1] <= first[0]  # on either side
    stored = np.asarray(nib.load(header.path).dataobj)
    assert sum((stored[slices(box)] > 0).sum() for box in boxes) == (stored > 0).sum()


# -- regions ------------------------------------------------------------------------------------

SHAPE = (20, 30, 40)
SPACING = (5.0, 0.8, 0.5)
WHOLE = whole_volume(SHAPE)
ONE, TWO, THREE = ((0, 5), (4, 9), (30, 40)), ((8, 9), (0, 30), (2, 3)), ((1, 2), (1, 2), (1, 2))


@pytest.mark.parametrize(
    ("settings", "boxes", "chosen"),
    [
        ({}, [ONE, TWO, THREE], [ONE, TWO]),
        ({"count": 1}, [ONE, TWO], [ONE]),
        ({}, [ONE], [ONE]),
        ({"repeat": True}, [ONE], [ONE, ONE]),
        ({"repeat": True, "count": 3}, [ONE, TWO], [ONE, TWO, ONE]),
        ({"repeat": True}, [ONE, TWO, THREE], [ONE, TWO]),
        ({"repeat": True}, [], []),
        ({}, [], []),
    ],
)
def test_a_single_kidney_is_taken_again_where_the_recipe_says_so(settings, boxes, chosen):
    assert regions_of(boxes, regions(**settings), SHAPE, SPACING, WHOLE) == chosen


def test_the_margin_ends_at_the_edge_of_the_volume():
    found = regions_of([ONE, TWO], regions(margin_voxels=3), SHAPE, SPACING, WHOLE)
    assert found == [((0, 8), (1, 12), (27, 40)), ((5, 12), (0, 30), (0, 6))]
    found = regions_of([ONE], regions(margin_voxels=99), SHAPE, SPACING, WHOLE)
    assert found == [whole_volume(SHAPE)]


def test_a_margin_in_millimetres_is_rounded_to_voxels_of_each_axis():
    box = ((8, 10), (10, 12), (20, 24))
    found = regions_of([box], regions(margin_mm=(13, 2, 1.2)), SHAPE, SPACING, WHOLE)
    # 13 / 5 (2.6), 2 / 0.8 (2.5, to the even one) and 1.2 / 0.5 (2.4) voxels on both sides.
    assert found == [((5, 13), (8, 14), (18, 26))]
    both = regions(margin_mm=(13, 2, 1.2), margin_voxels=1)
    assert regions_of([box], both, SHAPE, SPACING, WHOLE) == [((4, 14), (7, 15), (17, 27))]
    # A margin of less than half a voxel is none.
    assert regions_of([box], regions(margin_mm=(2.4, 0, 0)), SHAPE, SPACING, WHOLE) == [box]


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([ONE, TWO, THREE], [((0, 9), (0, 30), (1, 40))]),
        ([ONE, TWO], [((0, 9), (0, 30), (2, 40))]),
        ([ONE], [ONE]),  # a solitary or a fused kidney
        ([], []),
    ],
)
def test_joined_there_is_one_box_round_all(boxes, expected):
    assert regions_of(boxes, regions(join=True, count=1), SHAPE, SPACING, WHOLE) == expected
    if boxes:
        assert [joined(boxes)] == expected


@pytest.mark.parametrize(
    ("axes", "box"),
    [
        (("z",), ((0, 5), (0, 30), (0, 40))),
        (("y", "x"), ((0, 20), (4, 9), (30, 40))),
        (("x", "z"), ((0, 5), (0, 30), (30, 40))),
        ((), whole_volume(SHAPE)),
    ],
)
def test_other_axes_are_covered_whole(axes, box):
    assert regions_of([ONE], regions(axes=axes), SHAPE, SPACING, WHOLE) == [box]
    widened_by_one = regions_of([ONE], regions(axes=axes, margin_voxels=1), SHAPE, SPACING, WHOLE)
    assert widened_by_one == [widened(box, [1, 1, 1], SHAPE)]


@pytest.mark.parametrize(
    ("axes", "box"),
    [
        (("z",), ((7, 10), (3, 27), (5, 33))),
        (("y", "x"), ((2, 18), (4, 9), (12, 20))),
        (("z", "y", "x"), ((7, 10), (4, 9), (12, 20))),
        ((), ((2, 18), (3, 27), (5, 33))),
    ],
)
def test_along_axes_that_are_not_cut_a_region_is_where_it_was_looked_for(axes, box):
    extent = ((2, 18), (3, 27), (5, 33))
    found = [((7, 10), (4, 9), (12, 20))]
    assert regions_of(found, regions(axes=axes), SHAPE, SPACING, extent) == [box]
    # A margin is added to it, as to what is cut.
    widened_by_two = regions_of(found, regions(axes=axes, margin_voxels=2), SHAPE, SPACING, extent)
    assert widened_by_two == [widened(box, [2, 2, 2], SHAPE)]


@pytest.mark.parametrize("count", [1, 2])
def test_without_repetition_there_are_as_many_regions_as_kidneys(count):
    boxes = [ONE, TWO][:count]
    assert regions_of(boxes, regions(repeat=False), SHAPE, SPACING, WHOLE) == boxes


# -- which slices hold something ------------------------------------------------------------------


def column(text: str) -> np.ndarray:
    return np.array([letter == "#" for letter in text])[:, None, None]


@pytest.mark.parametrize(
    ("found", "smooth", "kept"),
    [
        # Of five slices the majority counts; at the ends the outermost is repeated.
        ("..####.####..", 5, "..#########.."),
        ("..#...####...", 5, "......####..."),
        ("##...........", 5, "##..........."),
        ("#.#.#........", 5, "###.........."),
        (".............", 5, "............."),
        ("#############", 5, "#############"),
        ("..##..###....", None, "......###...."),
    ],
)
def test_runs_of_slices_are_smoothed_by_a_median_and_the_longest_is_kept(found, smooth, kept):
    mask = column(found)
    cleaned, boxes = clean(mask, Components(smooth_slices=smooth, keep=1))
    np.testing.assert_array_equal(cleaned, column(kept))
    assert cleaned.dtype == bool
    rows = np.flatnonzero(column(kept))
    assert boxes == ([((rows[0], rows[-1] + 1), (0, 1), (0, 1))] if rows.size else [])
