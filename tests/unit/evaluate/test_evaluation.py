"""Tests of scoring: three rows a case, on native voxels, the method's grid, and as a ceiling."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from renal.evaluate.evaluation import _looked_for, evaluate, located_shares
from renal.evaluate.merge import merge
from renal.evaluate.metrics import case_metrics, region_dice
from renal.evaluate.settings import Merging
from renal.handover.checked import CheckedCase
from renal.handover.predictions import write_probabilities
from renal.handover.prepared import PreparedCase, read_index, read_labels, write_index
from renal.image.grids import labels_to_grid
from renal.image.settings import Geometry
from renal.image.volume import read_header, read_label, write_like, write_nifti
from renal.labels import KITS19, Labels, Region
from renal.learn.targets import maps_of
from renal.prepare.crop_roi import crop_roi, true_mask
from renal.prepare.resample import resample
from renal.prepare.settings import RegionCrop

SHAPE = (24, 48, 60)
SPACING = (3.0, 0.8, 0.7)
COLUMNS = [
    "method",
    "family",
    "fold",
    "case",
    "grid",
    "located_kidney",
    "located_tumour",
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
DICE = ("kidney_dice", "tumour_dice", "composite")


def kits_affine() -> np.ndarray:
    z, y, x = SPACING
    return np.array([[0, 0, -x, 0], [0, -y, 0, 0], [-z, 0, 0, 0], [0, 0, 0, 1.0]])


def ball(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    grid = np.indices(SHAPE)
    terms = [((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)]
    return sum(terms) <= 1


def true_label(number: int) -> np.ndarray:
    """Two kidneys, the first with a tumour; the last case has none."""
    label = np.zeros(SHAPE, np.uint8)
    label[ball((11, 20 + number, 14), (7, 9, 8))] = 1
    label[ball((12, 22, 44), (8, 9, 8))] = 1
    if number < 2:
        label[ball((11, 20, 17), (4, 5, 5))] = 2
    return label


def write_case(root: Path, number: int) -> CheckedCase:
    name = f"case_0000{number}"
    image, label = (root / name / file for file in ("imaging.nii.gz", "segmentation.nii.gz"))
    truth = true_label(number)
    hounsfield = (-1000 + 1100 * (truth > 0) + np.indices(SHAPE)[0]).astype(np.int16)
    write_nifti(image, hounsfield, kits_affine())
    write_nifti(label, truth, kits_affine())
    return CheckedCase(name, str(image), str(label), list(SHAPE), list(SPACING))


GRIDS = {"coarse": ((16, 32, 32), (16, 16, 16)), "fine": ((48, 96, 120), (32, 48, 48))}


def truths_of(folder: Path, cases: list[CheckedCase], sizes: tuple) -> dict[str, list[Path]]:
    """The true labels on the grids of both stages, in two batches each."""
    crop = RegionCrop.model_validate(
        {
            "geometry": {"size": sizes[1]},
            "intensity": {},
            "regions": {"stage": "whole", "count": 2, "repeat": True},
            "components": {"minimum_voxels": 100},
        }
    )
    folders = {"whole": [], "tumour": []}
    for number, batch in enumerate((cases[:2], cases[2:])):
        whole, tumour = folder / f"whole{number}", folder / f"tumour{number}"
        resample(batch, Geometry(size=sizes[0]), whole)
        crop_roi(batch, crop, true_mask, tumour)
        folders["whole"].append(whole)
        folders["tumour"].append(tumour)
    return folders


def method(minimum_voxels: int = 100) -> Merging:
    return Merging.model_validate(
        {
            "family": "tiny",
            "stages": {
                "whole": {"maps": ["kidney"], "components": {"minimum_voxels": minimum_voxels}},
                "tumour": {"maps": ["tumour"], "components": {}},
            },
            "merge": {"name": "nested", "maps": {"kidney": "whole", "tumour": "tumour"}},
            "grid": "whole",
        }
    )


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[CheckedCase]:
    root = tmp_path_factory.mktemp("data")
    return [write_case(root, number) for number in range(3)]


@pytest.fixture(scope="module")
def truths(tmp_path_factory, cases) -> dict[str, dict[str, list[Path]]]:
    root = tmp_path_factory.mktemp("truths")
    return {name: truths_of(root / name, cases, sizes) for name, sizes in GRIDS.items()}


def write_segmentations(folder: Path, cases: list[CheckedCase], change: object = None) -> Path:
    """The truth as the segmentation, or what `change` makes of it."""
    for case in cases:
        label = read_label(read_header(Path(case.label)))
        changed = change(label.copy()) if change else label
        write_like(folder / f"{case.name}.nii.gz", changed, read_header(Path(case.image)))
    return folder


def scores_of(
    cases, segmentations, truths, output, settings=None, threads=1, located=None, predictions=None
) -> dict:
    """Rows by case and grid, as text."""
    evaluate(
        cases,
        segmentations,
        truths,
        settings or method(),
        output,
        name="tiny_one",
        fold=3,
        threads=threads,
        located=located,
        predictions=predictions,
    )
    with output.open() as stream:
        return {(row["case"], row["grid"]): row for row in csv.DictReader(stream)}


def test_columns_and_rows(cases, truths, tmp_path):
    segmentations = write_segmentations(tmp_path, cases)
    rows = scores_of(cases, segmentations, truths["coarse"], tmp_path / "scores.csv")
    assert list(rows) == [
        (case.name, grid) for case in cases for grid in ("native", "resampled", "ceiling")
    ]
    for row in rows.values():
        assert list(row) == COLUMNS
        assert (row["method"], row["family"], row["fold"]) == ("tiny_one", "tiny", "3")


@pytest.mark.parametrize("grid", GRIDS)
def test_a_perfect_segmentation_scores_1(cases, truths, tmp_path, grid):
    segmentations = write_segmentations(tmp_path, cases)
    rows = scores_of(cases, segmentations, truths[grid], tmp_path / "scores.csv")
    for case in cases:
        for where in ("native", "resampled"):
            row = rows[case.name, where]
            assert [float(row[name]) for name in DICE] == [1, 1, 1]
            assert float(row["kidney_hd95"]) == 0
            assert float(row["kidney_surface_dice"]) == 1
            assert float(row["kidney_volume_error"]) == 0
    assert rows["case_00000", "native"]["tumour_detection"] == "found"
    assert rows["case_00002", "native"]["tumour_detection"] == "absent"


def test_the_ceiling_is_what_the_grids_leave_of_the_truth(cases, truths, tmp_path):
    segmentations = write_segmentations(tmp_path, cases)
    rows = {
        grid: scores_of(cases, segmentations, truths[grid], tmp_path / f"{grid}.csv")
        for grid in GRIDS
    }
    for case in cases:
        coarse, fine = (rows[grid][case.name, "ceiling"] for grid in ("coarse", "fine"))
        for name in DICE:
            assert 0.8 < float(coarse[name]) <= 1
            assert 0.98 < float(fine[name]) <= 1
        assert float(coarse["kidney_dice"]) < 1
        assert float(coarse["kidney_dice"]) < float(fine["kidney_dice"])


def test_the_ceiling_does_not_depend_on_the_segmentation(cases, truths, tmp_path):
    perfect = write_segmentations(tmp_path / "perfect", cases)
    empty = write_segmentations(tmp_path / "empty", cases, np.zeros_like)
    first = scores_of(cases, perfect, truths["coarse"], tmp_path / "perfect.csv")
    second = scores_of(cases, empty, truths["coarse"], tmp_path / "empty.csv")
    for case in cases:
        assert first[case.name, "ceiling"] == second[case.name, "ceiling"]
        for where in ("native", "resampled"):
            row = second[case.name, where]
            assert float(row["kidney_dice"]) == 0
            without_tumour = case.name == "case_00002"
            assert float(row["tumour_dice"]) == (1 if without_tumour else 0)


def test_the_ceiling_drops_the_components_that_the_method_drops(cases, truths, tmp_path):
    segmentations = write_segmentations(tmp_path, cases)
    rows = scores_of(
        cases,
        segmentations,
        truths["coarse"],
        tmp_path / "scores.csv",
        method(minimum_voxels=100_000),
    )
    assert float(rows["case_00000", "ceiling"]["kidney_dice"]) == 0
    assert float(rows["case_00000", "native"]["kidney_dice"]) == 1


def enlarged(label: np.ndarray) -> np.ndarray:
    """A kidney that is too large by two rows, with half of its tumour."""
    tumour = label == 2
    tumour[:, ::2] = False
    kidney = (label > 0) | (np.roll(label, 2, axis=1) > 0)
    return kidney.astype(np.uint8) + (kidney & tumour)


def assert_row_holds(row: dict[str, str], expected: dict[str, float | str]) -> None:
    for name, value in expected.items():
        if isinstance(value, float):
            assert float(row[name]) == pytest.approx(value, abs=1e-6, nan_ok=True)
        else:
            assert row[name] == value


def test_scores_are_the_metrics_on_each_grid_in_millimetres(cases, truths, tmp_path):
    segmentations = write_segmentations(tmp_path, cases, enlarged)
    rows = scores_of(cases, segmentations, truths["coarse"], tmp_path / "scores.csv")
    for number, case in enumerate(cases):
        truth = true_label(number)
        prediction = enlarged(truth)
        native = rows[case.name, "native"]
        assert_row_holds(native, case_metrics(prediction, truth, SPACING))
        assert 0 < float(native["kidney_dice"]) < 1
        assert float(native["kidney_volume_error"]) > 0
        # 24 x 48 x 60 voxels of 3 x 0.8 x 0.7 mm as 16 x 32 x 32 voxels.
        size, spacing = (16, 32, 32), (4.5, 1.2, 1.3125)
        box = tuple((0, length) for length in SHAPE)
        coarse = (labels_to_grid(label, box, size) for label in (prediction, truth))
        assert_row_holds(rows[case.name, "resampled"], case_metrics(*coarse, spacing))


def test_several_cases_at_once_give_the_same_file(cases, truths, tmp_path):
    segmentations = write_segmentations(tmp_path, cases)
    for threads in (1, 2):
        output = tmp_path / f"{threads}.csv"
        scores_of(cases, segmentations, truths["coarse"], output, threads=threads)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


# -- other targets --------------------------------------------------------------------------------


def single_stage(target: object, **geometry: object) -> tuple[Geometry, Merging]:
    """A method of one stage that gives both maps."""
    merging = Merging.model_validate(
        {
            "family": "tiny",
            "stages": {"both": {"maps": maps_of(target), "components": {}}},
            "merge": {
                "name": "nested",
                "maps": {"kidney": "both.kidney", "tumour": "both.tumour"},
            },
            "grid": "both",
        }
    )
    return Geometry(**geometry), merging


@pytest.mark.parametrize("target", ["classes", ("kidney", "tumour"), ("tumour", "kidney")], ids=str)
@pytest.mark.parametrize(
    ("geometry", "perfect"),
    [
        ({}, True),
        ({"size": (16, 32, 32)}, False),
        ({"size": (30, 60, 72), "extent_mm": (90, 48, 50.4)}, True),  # native voxels, padded
    ],
    ids=["native", "coarse", "extended"],
)
def test_the_ceiling_of_both_maps_of_one_stage(cases, tmp_path, target, geometry, perfect):
    settings, merging = single_stage(target, **geometry)
    resample(cases, settings, tmp_path / "grid")
    segmentations = write_segmentations(tmp_path / "merged", cases)
    truths = {"both": [tmp_path / "grid"]}
    rows = scores_of(cases, segmentations, truths, tmp_path / "scores.csv", merging)
    for case in cases:
        for name in DICE:
            found = float(rows[case.name, "ceiling"][name])
            assert found == 1 if perfect else 0.8 < found <= 1
        assert float(rows[case.name, "resampled"]["composite"]) == 1
    # Whole kidneys are on the coarse grid less than perfect.
    assert (float(rows["case_00000", "ceiling"]["kidney_dice"]) == 1) == perfect


def test_a_padded_grids_voxels_are_as_large_as_they_are(cases, tmp_path):
    """The grid has the scanner's own voxels, and more of them: distances are the same."""
    settings, merging = single_stage("classes", size=(30, 60, 72), extent_mm=(90, 48, 50.4))
    resample(cases, settings, tmp_path / "grid")
    segmentations = write_segmentations(tmp_path / "merged", cases, enlarged)
    truths = {"both": [tmp_path / "grid"]}
    rows = scores_of(cases, segmentations, truths, tmp_path / "scores.csv", merging)
    for case in cases:
        native, own = rows[case.name, "native"], rows[case.name, "resampled"]
        assert float(native["kidney_hd95"]) > 0
        assert native == {**own, "grid": "native"}


def test_maps_on_one_grid_are_scored_there_without_the_way_to_the_native_one(cases, tmp_path):
    """What the network found voxel by voxel is scored so, which interpolation would smooth."""
    settings, merging = single_stage(("kidney", "tumour"), size=(30, 60, 72))
    resample(cases, settings, tmp_path / "grid")
    index, expected = read_index(tmp_path / "grid"), {}
    for prepared in index.values():
        (truth,) = read_labels(tmp_path / "grid", prepared)
        found = truth * (np.indices(truth.shape).sum(axis=0) % 2 == 0)
        expected[prepared.name] = region_dice(found, np.asarray(truth))
        maps = np.stack([found > 0, found == 2]).astype(np.float32)
        write_probabilities(tmp_path / "found", prepared, [maps])
        write_probabilities(tmp_path / "nothing", prepared, [0 * maps])
    for folder in ("found", "nothing"):
        write_index(tmp_path / folder, list(index.values()))
    # Of three models two find it.
    predictions = {"both": [tmp_path / folder for folder in ("nothing", "found", "found")]}
    merge(cases, predictions, merging, tmp_path / "merged")
    given = (cases, tmp_path / "merged", {"both": [tmp_path / "grid"]}, tmp_path / "s.csv", merging)
    direct, detour = scores_of(*given, predictions=predictions), scores_of(*given)
    for case in cases:
        for region, dice in expected[case.name].items():
            score = float(direct[case.name, "resampled"][f"{region}_dice"])
            assert score == pytest.approx(dice, abs=1e-6)
        assert direct[case.name, "native"] == detour[case.name, "native"]
    first = [scores["case_00000", "resampled"]["kidney_dice"] for scores in (direct, detour)]
    assert first[0] != first[1]


def test_the_ceiling_of_a_stage_that_tells_slices_is_a_slab(cases, tmp_path):
    resample(cases, Geometry(), tmp_path / "grid")
    merging = Merging.model_validate(
        {
            "family": "tiny",
            "stages": {
                "rows": {"maps": maps_of("slices"), "of_slices": True, "components": {}},
                "both": {"maps": maps_of("classes"), "components": {}},
            },
            "merge": {"name": "nested", "maps": {"kidney": "rows", "tumour": "both.tumour"}},
            "grid": "rows",
        }
    )
    truths = {"rows": [tmp_path / "grid"], "both": [tmp_path / "grid"]}
    segmentations = write_segmentations(tmp_path / "merged", cases)
    rows = scores_of(cases, segmentations, truths, tmp_path / "scores.csv", merging)
    for number, case in enumerate(cases):
        truth = true_label(number)
        slab = np.where((truth > 0).any(axis=(1, 2), keepdims=True), np.maximum(truth, 1), 0)
        expected = case_metrics(slab.astype(np.uint8), truth, SPACING)
        assert_row_holds(rows[case.name, "ceiling"], {name: expected[name] for name in DICE})
        assert float(rows[case.name, "ceiling"]["tumour_dice"]) == 1


# -- what lies in the regions ---------------------------------------------------------------------


def located_case(*boxes: tuple) -> PreparedCase:
    return PreparedCase("case_00000", (4, 5, 6), list(boxes))


# Ten voxels of kidney along x = 0 and 5, four of tumour at x = 2.
LOCATED_TRUTH = np.zeros((4, 5, 6), np.uint8)
LOCATED_TRUTH[1, :, 0] = LOCATED_TRUTH[1, :, 5] = 1
LOCATED_TRUTH[1, :4, 2] = 2

ROW = ((1, 2), (0, 5))
MEMORY = {
    "C": lambda array: np.ascontiguousarray(array),
    "F": lambda array: np.asfortranarray(array),
    "turned": lambda array: np.asfortranarray(array[::-1, :, ::-1].T).T[::-1, :, ::-1],
    "permuted": lambda array: np.ascontiguousarray(array.transpose(1, 0, 2)).transpose(1, 0, 2),
}


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize(
    ("boxes", "kidney", "tumour"),
    [
        ([((0, 4), (0, 5), (0, 6))], 1, 1),
        ([(*ROW, (0, 3))], 9 / 14, 1),
        ([(*ROW, (0, 1)), (*ROW, (5, 6))], 10 / 14, 0),
        ([((1, 2), (0, 2), (0, 3)), ((1, 2), (1, 3), (0, 3))], 6 / 14, 3 / 4),  # they overlap
        ([((2, 4), (0, 5), (0, 6))], 0, 0),
        ([], 0, 0),
    ],
)
def test_shares_that_lie_in_the_regions_by_hand(memory, boxes, kidney, tumour):
    truth = MEMORY[memory](LOCATED_TRUTH)
    shares = located_shares(truth, located_case(*boxes))
    assert shares == {
        "located_kidney": pytest.approx(kidney),
        "located_tumour": pytest.approx(tumour),
    }


def test_where_there_is_nothing_to_be_found_there_is_no_share():
    whole = ((0, 4), (0, 5), (0, 6))
    empty = np.zeros((4, 5, 6), np.uint8)
    assert located_shares(empty, located_case(whole)) == {
        "located_kidney": "",
        "located_tumour": "",
    }
    kidney = (LOCATED_TRUTH > 0).astype(np.uint8)
    assert located_shares(kidney, located_case(whole)) == {
        "located_kidney": 1,
        "located_tumour": "",
    }
    assert located_shares(kidney, None) == {}


@pytest.mark.parametrize("values", [127, 128, 255])
def test_located_shares_of_many_labels(values):
    regions = (Region("organ", tuple(range(1, values + 1))), Region("last", (values,)))
    labels = Labels(dict.fromkeys(range(1, values + 1), ""), regions)
    truth = np.full((4, 5, 6), values, np.uint8)
    half = PreparedCase("case_00000", truth.shape, [((0, 2), (0, 5), (0, 6))])
    assert located_shares(truth, half, labels) == {"located_organ": 0.5, "located_last": 0.5}


def test_located_shares_are_a_score_of_the_native_grid(cases, truths, tmp_path):
    box = ((0, 24), (0, 48), (0, 30))  # one of the two kidneys
    prepared = [PreparedCase(case.name, SHAPE, [box]) for case in cases[:2]]
    prepared.append(PreparedCase(cases[2].name, SHAPE, []))
    write_index(tmp_path / "located", prepared)
    segmentations = write_segmentations(tmp_path / "merged", cases)
    rows = scores_of(
        cases, segmentations, truths["coarse"], tmp_path / "s.csv", located=tmp_path / "located"
    )
    for number, case in enumerate(cases):
        truth = true_label(number)
        share = (truth[..., :30] > 0).sum() / (truth > 0).sum() if number < 2 else 0
        assert float(rows[case.name, "native"]["located_kidney"]) == pytest.approx(share, abs=1e-6)
        assert rows[case.name, "native"]["located_tumour"] == ("1.0" if number < 2 else "")
        for grid in ("resampled", "ceiling"):
            assert rows[case.name, grid]["located_kidney"] == ""
            assert rows[case.name, grid]["located_tumour"] == ""


def test_regions_that_a_row_does_not_look_for_have_no_scores(cases, tmp_path):
    for case in cases[:1]:
        header = read_header(Path(case.label))
        write_like(tmp_path / "all" / f"{case.name}.nii.gz", read_label(header), header)
    whole = PreparedCase(cases[0].name, SHAPE, [((0, 24), (0, 48), (0, 60))])
    write_index(tmp_path / "located", [whole])
    scored = Merging(family="tiny", regions=("kidney",))
    evaluate(
        *(cases[:1], tmp_path / "all", {}, scored, tmp_path / "scores.csv"),
        name="one",
        located=tmp_path / "located",
    )
    (row,) = csv.DictReader((tmp_path / "scores.csv").open())
    assert list(row) == COLUMNS
    assert (row["located_kidney"], row["located_tumour"]) == ("1.0", "")
    assert row["kidney_dice"] == row["kidney_surface_dice"] == "1.0"
    empty = {name for name in COLUMNS if name.startswith("tumour_")} | {"composite"}
    assert {name for name in empty if row[name]} == set()


@pytest.mark.parametrize("sought", [("organ",), ("organ_mass",)])
def test_a_region_whose_name_begins_with_anothers_is_told_from_it(sought):
    outer, inner = KITS19.regions
    labels = replace(
        KITS19, regions=(replace(outer, name="organ"), replace(inner, name="organ_mass"))
    )
    values = dict.fromkeys(("organ_dice", "located_organ", "organ_mass_dice"), 0.5)
    values |= dict.fromkeys(("organ_mass_hd95", "located_organ_mass", "composite"), 0.5)
    kept = _looked_for(values, Merging(family="tiny", regions=sought), labels)
    own = {"organ": {"organ_dice", "located_organ"}}
    own["organ_mass"] = values.keys() - own["organ"] - {"composite"}
    assert {name for name, value in kept.items() if value} == own[sought[0]]
