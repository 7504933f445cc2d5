"""The mean of rows' probabilities: by hand, on grids of their own."""

import numpy as np
import pytest

from renal.evaluate.average import averaged_label
from renal.evaluate.settings import Averaging
from renal.handover.prepared import PreparedCase

SHAPE = (8, 10, 12)
WHOLE = ((0, 8), (0, 10), (0, 12))
PART = ((2, 6), (2, 8), (4, 10))


def stage(probability: float, box=WHOLE, *further) -> tuple[PreparedCase, list[np.ndarray]]:
    """A stage of two maps, kidney and tumour, that says the same of every voxel of its box."""
    boxes = [box, *further]
    sizes = [[high - low for low, high in b] for b in boxes]
    maps = [np.full((2, *size), probability, np.float32) for size in sizes]
    return PreparedCase("case_00000", SHAPE, boxes), maps


def averaging(*maps: dict, **changes) -> Averaging:
    values = {"regions": {"kidney": maps}, "components": {}}
    return Averaging.model_validate(values | changes)


@pytest.mark.parametrize(("weights", "found"), [((1, 1), False), ((3, 1), True), ((1, 3), False)])
def test_weights_decide(weights, found):
    stages = {"one.segment": stage(0.8), "two.segment": stage(0.1)}
    maps = [{"stage": name, "weight": weight} for name, weight in zip(stages, weights, strict=True)]
    assert averaged_label(stages, averaging(*maps)).all() == found


def test_what_a_row_did_not_look_at_counts_as_zero():
    stages = {"one.segment": stage(0.8), "two.box": stage(0.4, PART)}
    maps = [{"stage": name, "weight": 1} for name in stages]
    expected = np.zeros(SHAPE, np.uint8)
    expected[2:6, 2:8, 4:10] = 1  # (0.8 + 0.4) / 2; elsewhere 0.8 / 2
    assert np.array_equal(averaged_label(stages, averaging(*maps)), expected)


def test_regions_that_overlap_count_once():
    overlapping = stage(0.6, PART, ((2, 6), (2, 8), (6, 12)))
    label = averaged_label(
        {"one.box": overlapping, "two.box": stage(0.0)},
        averaging({"stage": "one.box", "weight": 1}, {"stage": "two.box", "weight": 1}),
    )
    assert not label.any()


def test_nested_regions_have_their_channels_and_are_cleaned():
    case, ((kidney, tumour),) = stage(0.0)
    kidney[1:5, 1:5, 1:5] = 0.9
    kidney[7, 9, 11] = 0.9  # a speck
    tumour[3:7, 1:3, 1:3] = 0.9  # sticks out below
    stages = {"one.segment": (case, [np.stack([kidney, tumour])]), "two.segment": stage(0.4)}
    regions = {
        region: [{"stage": name, "channel": channel, "weight": 1} for name in stages]
        for channel, region in enumerate(("kidney", "tumour"))
    }
    settings = averaging(regions=regions, components={"kidney": {"minimum_voxels": 8}})
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:5, 1:5, 1:5] = 1
    expected[3:5, 1:3, 1:3] = 2
    assert np.array_equal(averaged_label(stages, settings), expected)


def test_nothing_is_found_in_empty_maps():
    stages = {"one.segment": stage(0.0), "two.segment": stage(0.0)}
    maps = [{"stage": name, "weight": 1} for name in stages]
    assert not averaged_label(stages, averaging(*maps)).any()
