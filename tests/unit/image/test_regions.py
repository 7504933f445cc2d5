"""The regions that a stage looks at."""

import pytest

from renal.image.boxes import joined, whole_volume, widened
from renal.image.regions import regions_of
from renal.image.settings import Regions


def regions(**changed):
    return Regions(**{"stage": "whole", "count": 2, **changed})


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


@pytest.mark.parametrize(
    ("box", "least", "expected"),
    [
        (((8, 10), (10, 12), (20, 24)), (4, 6, 4), ((7, 11), (8, 14), (20, 24))),
        (((0, 2), (28, 30), (20, 24)), (4, 6, 9), ((0, 4), (24, 30), (17, 26))),  # moved in
        (((8, 10), (10, 12), (20, 24)), (99, 1, 1), ((0, 20), (10, 12), (20, 24))),
    ],
)
def test_a_small_region_is_widened_to_what_a_patch_sees(box, least, expected):
    assert regions_of([box], regions(), SHAPE, SPACING, WHOLE, least) == [expected]
