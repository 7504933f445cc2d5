"""The mean of rows' probabilities: by hand, on grids of their own."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from renal import recipe
from renal.__main__ import parser, prepared
from renal.evaluate.average import averaged_label
from renal.evaluate.settings import Averaging
from renal.handover.case_files import write_files
from renal.handover.checked import write_checked
from renal.handover.predictions import write_probabilities
from renal.handover.prepared import PreparedCase, write_index
from renal.image.boxes import Box, slices
from renal.plan import named
from renal.recipe.method import Method
from renal.settings import as_json

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


def test_of_regions_that_overlap_the_larger_probability_counts():
    case, maps = stage(0.9, PART, ((2, 6), (2, 8), (6, 12)))
    maps[1][:] = 0.3
    label = averaged_label(
        {"one.box": (case, maps), "two.segment": stage(0.4)},
        averaging({"stage": "one.box", "weight": 1}, {"stage": "two.segment", "weight": 1}),
    )
    expected = np.zeros(SHAPE, np.uint8)
    expected[slices(PART)] = 1
    assert np.array_equal(label, expected)


def test_what_lies_outside_of_the_region_around_displaces_no_component():
    case, ((kidney, tumour),) = stage(0.0)
    kidney[1:5, 1:5, 1:5] = 0.9
    tumour[2:4, 2:4, 2:4] = tumour[6:8, 5:9, 5:11] = 0.9  # the larger one is in no kidney
    maps = {
        region: [{"stage": "one.segment", "channel": channel, "weight": 1}]
        for channel, region in enumerate(("kidney", "tumour"))
    }
    settings = averaging(regions=maps, components={"tumour": {"keep": 1}})
    label = averaged_label({"one.segment": (case, [np.stack([kidney, tumour])])}, settings)
    expected = (kidney > 0).astype(np.uint8)
    expected[2:4, 2:4, 2:4] = 2
    assert np.array_equal(label, expected)


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


# -- the step, from stored predictions of two rows to files ---------------------------------------


class Predicted:
    """Predictions of a case, and what they say of native voxels by SciPy's interpolation."""

    def __init__(self, folder: Path, shape: tuple[int, int, int]):
        self.folder, self.shape, self.random = folder, shape, np.random.default_rng(5)

    def store(self, place: str, maps: int, grid: tuple[int, int, int], box: Box) -> np.ndarray:
        """Smooth probabilities of a box in 8 bits; as (maps, z, y, x) of the native shape."""
        noise = self.random.random((maps, *grid))
        smooth = gaussian_filter(noise, (0, 1, 1, 1), mode="nearest")
        probability = np.clip(0.5 + 4 * (smooth - 0.5), 0, 1).astype(np.float32)
        (self.folder / place).mkdir(parents=True)
        case = PreparedCase("case_00000", self.shape, [box])
        write_index(self.folder / place, [case])
        write_probabilities(self.folder / place, case, [probability])
        centres = [
            (np.arange(high - low) + 0.5) * size / (high - low) - 0.5
            for size, (low, high) in zip(grid, box, strict=True)
        ]
        at = np.meshgrid(*centres, indexing="ij")
        native = np.zeros((maps, *self.shape))
        for number, levels in enumerate(np.rint(probability * 255) / 255):
            native[number][slices(box)] = map_coordinates(levels, at, order=1, mode="nearest")
        return native


def test_two_rows_of_other_grids_and_stages_become_one_segmentation(
    checked, shared_kits19, tmp_path
):
    """One finds tumours in a stage of its own; of the other one two models are averaged first."""
    case = next(case for case in checked if case.name == "case_00000")
    image = nib.load(case.image)
    predicted = Predicted(tmp_path, image.shape)
    z, y, x = image.shape
    kidneys = ((1, z - 1), (8, y - 4), (3, x - 5))
    part = ((2, z - 2), (y // 4, y - 10), (5, x // 2))
    whole = predicted.store("resvnet/whole", 1, (9, 14, 17), ((0, z), (0, y), (0, x)))[0]
    tumour = predicted.store("resvnet/tumour", 1, (12, 20, 15), part)[0]
    members = [
        predicted.store(f"tunet/{member}", 2, (11, 25, 13), kidneys) for member in ("a", "b")
    ]
    mean = sum(members) / 2

    recipes = {row: recipe.load_method(row, {}) for row in ("resvnet", "tunet")}
    average = {"of": ["resvnet", "tunet"], "weights": [2, 1]}
    recipes["mean"] = Method.model_validate(
        {"family": "ensemble", "title": "Mean", "average": average}
    )
    write_checked(tmp_path / "checked.json", [case])
    write_files(tmp_path / "files.json", {case.name: (Path(case.image), None)})
    folders = {
        "resvnet.whole": [tmp_path / "resvnet/whole"],
        "resvnet.tumour": [tmp_path / "resvnet/tumour"],
        "tunet.segment": [tmp_path / "tunet/a", tmp_path / "tunet/b"],
    }
    given = ["--files", str(tmp_path / "files.json"), "--checked", str(tmp_path / "checked.json")]
    given += ["--predictions", *named(folders), "--output", str(tmp_path / "merged")]
    settings = as_json(recipe.averaging(recipes, "mean"))
    prepared(parser().parse_args(["average", *given, "--settings", settings]))()

    written = nib.load(tmp_path / "merged/case_00000.nii.gz")
    label = np.asanyarray(written.dataobj)
    assert (written.shape, label.dtype) == (image.shape, np.uint8)
    assert np.array_equal(written.affine, image.affine)
    kidney, lesion = (2 * whole + mean[0]) / 3, (2 * tumour + mean[1]) / 3
    expected = np.where(kidney > 0.5, np.where(lesion > 0.5, 2, 1), 0)
    sure = (np.abs(kidney - 0.5) > 1e-5) & (np.abs(lesion - 0.5) > 1e-5)
    assert sure.mean() > 0.999
    assert np.array_equal(label[sure], expected[sure])
    # All values are there, and the other row changes some.
    alone = np.where(whole > 0.5, np.where(tumour > 0.5, 2, 1), 0)
    assert min((label == value).mean() for value in (0, 1, 2)) > 0.01
    assert (label != alone).mean() > 0.01
