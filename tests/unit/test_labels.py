"""The table of labels: by hand, and with a fourth label that nothing else was told of."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib import pyplot as plt

from renal.apply.label_descriptions import write_label_descriptions
from renal.data.anatomy import Solid
from renal.data.cases import Case, find_cases
from renal.data.listing import list_cases
from renal.data.phantom import phantom_case, scan
from renal.data.validation import check_case, validate
from renal.errors import InputError
from renal.evaluate.evaluation import evaluate, located_shares
from renal.evaluate.metrics import case_metrics, confusion_matrix, region_dice
from renal.evaluate.settings import Merging
from renal.handover.case_files import usable_with_files, write_files
from renal.handover.prepared import PreparedCase, write_index
from renal.image.dicom_segmentation import UNTOLD, numbered_segments
from renal.image.settings import Geometry
from renal.image.volume import read_header, read_label, write_like, write_nifti
from renal.labels import KITS19, Labels
from renal.prepare.resample import resample
from renal.report import located, overlays
from renal.report.located import draw_located
from renal.report.overlays import draw_overlays
from renal.report.ranked import RANKS
from renal.report.settings import Row
from renal.report.tables import cross_validation, forms, markdown, write_tables

from .report.helpers import coloured

KIDNEY, TUMOUR = KITS19.regions
CYST = replace(
    TUMOUR, name="cyst", labels=(3,), title="Cyst", colour="#31c45a", tolerance_mm=2.0, lesion=True
)
MASSES = replace(
    TUMOUR, name="masses", labels=(2, 3), title="Masses", colour="#b05cff", lesion=False
)
# KiTS19's table with cysts as a label of their own, and with two regions more.
GROWN = replace(
    KITS19,
    tissues={**KITS19.tissues, 3: "cyst"},
    regions=(replace(KIDNEY, labels=(1, 2, 3)), MASSES, TUMOUR, CYST),
)
# The regions of KiTS21: a cyst is what is mass and no tumour.
HIERARCHICAL = replace(GROWN, regions=GROWN.regions[:3])


def row(text: str) -> np.ndarray:
    """(1, 1, x) uint8 label map from digits."""
    return np.array([[[int(digit) for digit in text]]], np.uint8)


def mask(text: str) -> np.ndarray:
    """(1, 1, x) bool: # is true."""
    return np.array([[[letter == "#" for letter in text]]])


# -- the table ------------------------------------------------------------------------------------


def test_names_count_and_regions():
    assert (KITS19.names, KITS19.count) == (("kidney", "tumour"), 3)
    assert (GROWN.names, GROWN.count) == (("kidney", "masses", "tumour", "cyst"), 4)
    assert KITS19.region("tumour") is TUMOUR
    assert GROWN.region("cyst").labels == (3,)


def test_the_legend_tells_every_value():
    assert KITS19.legend == "0 background, 1 parenchyma and 2 tumour"
    assert GROWN.legend == "0 background, 1 parenchyma, 2 tumour and 3 cyst"
    assert Labels({1: "kidney"}, (KIDNEY,)).legend == "0 background and 1 kidney"


def test_what_has_no_value_of_its_own_counts_as_parenchyma():
    assert [KITS19.value_of(tissue) for tissue in ("parenchyma", "tumour", "cyst")] == [1, 2, 1]
    assert [GROWN.value_of(tissue) for tissue in ("parenchyma", "tumour", "cyst")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("labels", "outer"),
    [
        (KITS19, {"kidney": None, "tumour": "kidney"}),
        (GROWN, {"kidney": None, "masses": "kidney", "tumour": "masses", "cyst": "masses"}),
        (
            replace(GROWN, regions=(GROWN.regions[0], TUMOUR, CYST)),
            {"kidney": None, "tumour": "kidney", "cyst": "kidney"},
        ),
    ],
)
def test_outer_is_the_smallest_region_around(labels, outer):
    found = {region.name: labels.outer(region) for region in labels.regions}
    assert found == {
        name: None if around is None else labels.region(around) for name, around in outer.items()
    }


def test_the_innermost_region_of_a_value_is_the_smallest():
    found = {value: GROWN.innermost(value).name for value in GROWN.tissues}
    assert found == {1: "kidney", 2: "tumour", 3: "cyst"}
    assert HIERARCHICAL.innermost(3).name == "masses"


def test_a_new_region_is_described_and_becomes_a_segment(tmp_path):
    """Masses, which tumour and cyst cover wholly, have no voxels of their own."""
    write_label_descriptions(tmp_path, GROWN)
    lines = (tmp_path / "slicer.ctbl").read_text().splitlines()[2:]
    assert [line.split()[:2] for line in lines] == [
        ["1", "parenchyma"],
        ["2", "tumour"],
        ["3", "cyst"],
    ]
    assert lines[2].split()[2:5] == [str(int(CYST.colour[i : i + 2], 16)) for i in (1, 3, 5)]
    label = row("0123")
    numbers, segments = numbered_segments(label, np.full_like(label, UNTOLD), GROWN)
    assert [segment.title for segment in segments] == ["Kidney", TUMOUR.title, CYST.title]
    np.testing.assert_array_equal(numbers, label)


def test_a_regions_own_value_is_the_one_that_no_region_within_it_has():
    assert [KITS19.own_value(region) for region in KITS19.regions] == [1, 2]
    assert [HIERARCHICAL.own_value(region) for region in HIERARCHICAL.regions] == [1, 3, 2]
    assert {name: GROWN.own_value(GROWN.region(name)) for name in ("kidney", "tumour", "cyst")} == {
        "kidney": 1,
        "tumour": 2,
        "cyst": 3,
    }


def test_a_region_without_a_value_of_its_own_or_with_several_is_refused():
    with pytest.raises(ValueError, match=r"^region masses has label values \[\] of its own$"):
        GROWN.own_value(MASSES)
    two = replace(GROWN, regions=GROWN.regions[:2])
    with pytest.raises(ValueError, match=r"^region masses has label values \[2, 3\] of its own$"):
        two.own_value(MASSES)


LABEL_MAPS = arrays(np.uint8, array_shapes(min_dims=3, max_dims=3), elements=st.integers(0, 3))


@given(LABEL_MAPS)
def test_masks_of_arrays_and_tensors_by_hand(label):
    expected = {
        "kidney": label > 0,
        "masses": label > 1,
        "tumour": label == 2,
        "cyst": label == 3,
    }
    for region in GROWN.regions:
        found = region.mask(label)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, expected[region.name])
        for tensor in (torch.from_numpy(label), torch.from_numpy(label).float()):
            found = region.mask(tensor)
            assert found.dtype == torch.bool
            np.testing.assert_array_equal(found.numpy(), expected[region.name])


# -- painting -------------------------------------------------------------------------------------


@given(arrays(bool, st.tuples(st.just(2), *[st.integers(1, 5)] * 3)), st.sampled_from("CF"))
def test_painting_kidney_and_tumour_is_hao_2019_equations_3_and_4(masks, order):
    kidney, tumour = (np.asarray(part, order=order) for part in masks)
    expected = kidney.astype(np.uint8)
    expected[kidney & tumour] = 2
    before = kidney.copy(), tumour.copy()
    label = KITS19.paint({"kidney": kidney, "tumour": tumour})
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, expected)
    # Not in the order of the masks, but in that of the table.
    np.testing.assert_array_equal(KITS19.paint({"tumour": tumour, "kidney": kidney}), expected)
    np.testing.assert_array_equal([kidney, tumour], before)
    assert label.strides == kidney.view(np.uint8).strides  # as KiTS19's files lie in memory


@given(LABEL_MAPS)
def test_masks_of_a_label_map_paint_it_again(label):
    for labels in (GROWN, HIERARCHICAL):
        masks = {region.name: region.mask(label) for region in labels.regions}
        if labels is GROWN:
            del masks["masses"]  # which has no value of its own
        np.testing.assert_array_equal(labels.paint(masks), label)


@pytest.mark.parametrize(
    ("labels", "masks", "expected"),
    [
        (KITS19, {"kidney": "######.."}, "11111100"),
        (KITS19, {"kidney": "######..", "tumour": "....####"}, "11112200"),
        (
            GROWN,  # a region later in the table goes before
            {"kidney": "######..", "tumour": ".###..#.", "cyst": "..##.#.#"},
            "12331300",
        ),
        (GROWN, {"kidney": "######..", "cyst": "..##.#.#"}, "11331300"),
        (
            HIERARCHICAL,
            {"kidney": "######..", "masses": ".####.#.", "tumour": "..##.##."},
            "13223100",
        ),
        (HIERARCHICAL, {"kidney": "######..", "tumour": "..##.##."}, "11221200"),
        (HIERARCHICAL, {"kidney": "........", "masses": "########"}, "00000000"),
    ],
)
def test_regions_are_cut_by_those_that_they_lie_within_by_hand(labels, masks, expected):
    label = labels.paint({name: mask(text) for name, text in masks.items()})
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, row(expected))


def test_maps_that_are_no_label_map_are_not_painted():
    # Its tumours and cysts are what masses are made of: where it says neither, there is no value.
    with pytest.raises(ValueError, match="region masses has label values"):
        GROWN.paint({"kidney": mask("###"), "masses": mask("##.")})
    with pytest.raises(KeyError, match="kidney"):
        GROWN.paint({"tumour": mask("###")})


# -- the phantom ----------------------------------------------------------------------------------


def phantom(seed: int, labels: Labels):
    return phantom_case(seed, size=64, slices_mm=(5, 5), tumours=1, labels=labels)


@pytest.mark.parametrize("seed", [1, 4, 10])
def test_the_same_patient_by_both_tables(seed):
    """The image is the same; the label too, once cysts are mapped to parenchyma.

    By both tables a voxel is foreground, and tumour, by the same shares. Only what is half tumour
    and half cyst to the last bit would be cyst by one and tumour by the other: see the next test.
    Lesions are placed 8 mm apart, so there is no such voxel.
    """
    plain, grown = phantom(seed, KITS19), phantom(seed, GROWN)
    assert set(np.unique(plain.label)) == {0, 1, 2}
    assert set(np.unique(grown.label)) == {0, 1, 2, 3}
    assert plain.spacing == grown.spacing
    np.testing.assert_array_equal(plain.image, grown.image)
    np.testing.assert_array_equal(plain.label, np.where(grown.label == 3, 1, grown.label))


@pytest.mark.parametrize(
    ("parenchyma", "cyst", "tumour", "plain", "grown"),
    [
        # Each covers so much of the voxel, one painted over the other.
        (1, 0, 0, 1, 1),
        (1, 1, 0, 1, 3),
        (1, 0, 1, 2, 2),
        (1, 1, 0.25, 1, 3),
        (1, 1, 0.75, 2, 2),
        (1, 0, 0.5, 2, 2),  # half is enough
        (1, 0.5, 0, 1, 3),
        (1, 1, 0.5, 2, 3),  # half and half: the later value, the one voxel that differs
        (1, 0.5, 0.375, 1, 1),  # 5/16 each of parenchyma and cyst, 6/16 of tumour: none has half
        (0.5, 0.5, 0, 1, 3),  # 3/4 foreground, 2/4 of the voxel cyst
        (0, 0, 0.375, 0, 0),  # less than half foreground
        (0, 0.25, 0.25, 0, 0),
        (0.375, 0, 0.25, 1, 1),  # 17/32 foreground, of which tumour is 8/32
    ],
)
def test_a_voxel_is_of_the_lesion_that_has_half_of_its_foreground(
    parenchyma, cyst, tumour, plain, grown
):
    covers = {"parenchyma": parenchyma, "cyst": cyst, "tumour": tumour}
    solids = [
        Solid(lambda points, cover=cover: 0 * sum(points) + 0.5 - cover, 40, tissue=tissue)
        for tissue, cover in covers.items()
    ]
    points = [np.zeros(shape, np.float32) for shape in ((1, 1, 1), (1, 1, 1), (1, 1, 1))]
    for labels, expected in ((KITS19, plain), (GROWN, grown)):
        _, label = scan(solids, lambda _: np.zeros((1, 1, 1)), points, 1, 1.0, labels)
        assert label.tolist() == [[[expected]]]


# -- scores ---------------------------------------------------------------------------------------

TRUTH, PREDICTION = row("01122330"), row("01323313")


def test_dice_of_the_grown_tables_regions_by_hand():
    assert region_dice(PREDICTION, TRUTH, GROWN) == {
        "kidney": pytest.approx(12 / 13),
        "masses": pytest.approx(6 / 9),
        "tumour": pytest.approx(2 / 3),
        "cyst": pytest.approx(2 / 6),
    }
    np.testing.assert_array_equal(
        confusion_matrix(PREDICTION, TRUTH, GROWN),
        [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 0, 1]],
    )
    with pytest.raises(ValueError, match="1 parenchyma and 2 tumour only"):
        region_dice(PREDICTION, TRUTH)


def test_a_row_of_scores_of_the_grown_table_by_hand():
    scores = case_metrics(PREDICTION, TRUTH, (5.0, 1.0, 1.0), GROWN)
    assert list(scores) == [
        *(f"{name}_dice" for name in GROWN.names),
        "composite",
        *(f"{name}_hd95" for name in GROWN.names),
        *(f"{name}_surface_dice" for name in GROWN.names),
        *(f"{name}_surface_area_dice" for name in GROWN.names),
        *(f"{name}_volume_error" for name in GROWN.names),
        "tumour_detection",
        "cyst_detection",
    ]
    assert scores["cyst_dice"] == pytest.approx(1 / 3)
    assert scores["composite"] == pytest.approx((12 / 13 + 2 / 3 + 2 / 3 + 1 / 3) / 4)
    # Predicted cysts are 3, 1, 0 and 1 mm from the true ones, and these 0 and 1 mm from them.
    assert scores["cyst_hd95"] == pytest.approx(2.7)
    assert scores["cyst_surface_dice"] == pytest.approx(5 / 6)  # within its own 2 mm
    assert scores["cyst_volume_error"] == 1.0
    assert scores["cyst_detection"] == scores["tumour_detection"] == "found"
    without = case_metrics(np.where(PREDICTION == 3, 1, PREDICTION), TRUTH, (5, 1, 1), GROWN)
    assert (without["cyst_dice"], without["cyst_detection"]) == (0, "missed")


def test_located_shares_of_the_grown_table_by_hand():
    looked_at = PreparedCase("case_00000", TRUTH.shape, [((0, 1), (0, 1), (2, 6))])
    assert located_shares(TRUTH, looked_at, GROWN) == {
        "located_kidney": pytest.approx(4 / 6),
        "located_masses": pytest.approx(3 / 4),
        "located_tumour": 1,
        "located_cyst": pytest.approx(1 / 2),
    }


# -- from files to pictures -----------------------------------------------------------------------


def half_of_the_cyst(truth: np.ndarray) -> np.ndarray:
    """The truth, with every second column of its cysts taken for parenchyma."""
    columns = np.indices(truth.shape)[2]
    return np.where((truth == 3) & (columns % 2 == 0), 1, truth).astype(np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data set of one case with a cyst, by the grown table, and what was found in it."""
    root = tmp_path_factory.mktemp("grown")
    case = phantom(4, GROWN)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = *(-step for step in case.spacing), 1
    folder = root / "data" / "case_00000"
    write_nifti(folder / "imaging.nii.gz", case.image, affine)
    write_nifti(folder / "segmentation.nii.gz", case.label, affine)
    image = read_header(folder / "imaging.nii.gz")
    for name, change in (("found", half_of_the_cyst), ("plain", lambda t: np.where(t == 3, 1, t))):
        write_like(root / name / "case_00000.nii.gz", change(case.label), image)
    return root


@pytest.fixture(scope="module")
def truth(root) -> np.ndarray:
    return read_label(read_header(root / "data/case_00000/segmentation.nii.gz"), GROWN)


@pytest.fixture(scope="module")
def case(root):
    """The case as validation records it."""
    folder = root / "data" / "case_00000"
    files = Case("case_00000", folder / "imaging.nii.gz", folder / "segmentation.nii.gz")
    return check_case(files, maximum_voxels=10**7, labels=GROWN)


def test_the_index_lists_the_volume_of_every_region(case, truth, root, tmp_path):
    assert (case.fault, case.notes) == ("", [])
    list_cases({"fold0-000": [case]}, root / "data", tmp_path / "cases.csv", GROWN)
    with (tmp_path / "cases.csv").open() as stream:
        (listed,) = csv.DictReader(stream)
    voxel = np.prod(case.spacing) / 1000
    regions = {"kidney": (1, 2, 3), "masses": (2, 3), "tumour": (2,), "cyst": (3,)}
    for name, values in regions.items():
        expected = np.isin(truth, values).sum() * voxel
        assert expected > 0
        assert float(listed[f"{name}_ml"]) == pytest.approx(expected, abs=1e-3)


def test_the_plain_table_refuses_the_label(root):
    folder = root / "data" / "case_00000"
    files = Case("case_00000", folder / "imaging.nii.gz", folder / "segmentation.nii.gz")
    checked = check_case(files, maximum_voxels=10**7)
    assert "label values [3]: only 0 background, 1 parenchyma and 2 tumour are" in checked.fault


def test_a_case_without_a_cyst_has_a_note(root, tmp_path):
    folder = root / "data" / "case_00000"
    files = Case("case_00000", folder / "imaging.nii.gz", root / "plain" / "case_00000.nii.gz")
    checked = check_case(files, maximum_voxels=10**7, labels=GROWN)
    assert checked.notes == ["no cyst in the label"] and checked.volumes_ml["cyst"] == 0


@pytest.fixture
def one_table(monkeypatch):
    """The one table itself has grown, for all that takes it by default."""
    for field in ("tissues", "regions"):
        monkeypatch.setitem(vars(KITS19), field, getattr(GROWN, field))


MERGING = {
    "family": "tiny",
    "stages": {
        "kidneys": {"maps": ["kidney"], "components": {}},
        "tumours": {"maps": ["tumour"], "components": {}},
        "cysts": {"maps": ["cyst"], "components": {}},
    },
    "merge": {
        "name": "nested",
        "maps": {"kidney": "kidneys", "tumour": "tumours", "cyst": "cysts"},
    },
    "grid": "kidneys",
}


@pytest.fixture
def scores(root, case, tmp_path, one_table) -> Path:
    """Scores of what was found, from the files on; looked at was the half of x below 32."""
    validate(
        root / "data", find_cases(root / "data"), tmp_path / "batch.json", maximum_voxels=10**7
    )
    found = find_cases(root / "data")
    write_files(tmp_path / "files.json", {c.name: (c.image, c.label) for c in found})
    cases = usable_with_files([tmp_path / "batch.json"], tmp_path / "files.json")
    assert cases == [case]  # as with the table handed in
    resample(cases, Geometry(), tmp_path / "grid")
    looked_at = PreparedCase("case_00000", tuple(case.shape), [half_of(case.shape)])
    write_index(tmp_path / "located", [looked_at])
    settings = Merging.model_validate(MERGING)
    truths = {stage: [tmp_path / "grid"] for stage in settings.stages}
    told = {"name": "tiny", "fold": 0, "located": tmp_path / "located"}
    output, same = tmp_path / "scores.csv", tmp_path / "same.csv"
    evaluate(cases, root / "found", truths, settings, output, **told)
    evaluate(cases, root / "found", truths, settings, same, **told, labels=GROWN)
    assert output.read_bytes() == same.read_bytes()
    return output


def half_of(shape: list[int]) -> tuple:
    return ((0, shape[0]), (0, shape[1]), (0, 32))


def dice_by_hand(truth: np.ndarray) -> dict[str, float]:
    """What is lost of the cyst is lost of the masses, and nothing of kidney and tumour."""
    lost = np.count_nonzero((truth == 3) & (np.indices(truth.shape)[2] % 2 == 0))
    cyst, masses = np.count_nonzero(truth == 3), np.count_nonzero(truth > 1)
    assert 0 < lost < cyst < masses
    return {
        "kidney_dice": 1.0,
        "masses_dice": 2 * (masses - lost) / (2 * masses - lost),
        "tumour_dice": 1.0,
        "cyst_dice": 2 * (cyst - lost) / (2 * cyst - lost),
    }


def test_scores_of_a_grown_table_by_hand(scores, truth):
    rows = pd.read_csv(scores).set_index("grid")
    expected = dice_by_hand(truth)
    for grid in ("native", "resampled"):  # the grid is that of the scan
        for name, dice in expected.items():
            assert rows.loc[grid, name] == pytest.approx(dice, abs=1e-6)
        composite = sum(expected.values()) / 4
        assert rows.loc[grid, "composite"] == pytest.approx(composite, abs=1e-6)
        assert rows.loc[grid, "cyst_detection"] == "found"
    # The truth through the method's grid and merging is the truth, cysts included.
    assert [rows.loc["ceiling", name] for name in expected] == [1, 1, 1, 1]
    for name, values in {"cyst": (3,), "masses": (2, 3), "kidney": (1, 2, 3)}.items():
        there = np.isin(truth, values)
        share = there[..., :32].sum() / there.sum()
        assert rows.loc["native", f"located_{name}"] == pytest.approx(share, abs=1e-6)


ROWS = {"tiny": Row(family="tiny", title="Tiny", published=None)}


def test_tables_of_a_grown_table_by_hand(scores, truth, tmp_path):
    table = cross_validation(pd.read_csv(scores), ROWS, GROWN)
    means = table[table["grid"] == "native"].set_index("metric")["mean"]
    for name, dice in dice_by_hand(truth).items():
        assert means[name] == pytest.approx(dice, abs=1e-6)
    assert means["cysts_found"] == 1 and "massess_found" not in means
    native, *_, further = forms(table, ROWS, GROWN).values()
    assert list(native) == [
        "Method",
        "Kidney Dice",
        "Masses Dice",
        "Tumour Dice",
        "Cyst Dice",
        "Composite",
        "Cases",
        "Folds",
    ]
    assert native.iloc[0]["Cyst Dice"] == f"{means['cyst_dice']:.3f}"
    assert set(native.iloc[1:]["Cyst Dice"]) == {"-"}  # others report none
    assert native.iloc[1]["Tumour Dice"] == "0.837"
    for title in (
        "Cyst HD95, mm",
        "Cyst surface Dice by voxels, 2 mm",
        "Tumour surface Dice by areas, 3 mm",
        "Cyst volume error",
        "Cysts found",
        "Cyst within the located regions",
    ):
        assert title in further
    assert further.iloc[0]["Cysts found"] == "1.000"
    text = markdown(table, ROWS, GROWN)
    assert "| Method | Kidney Dice | Masses Dice | Tumour Dice | Cyst Dice | Composite |" in text
    write_tables([scores], ROWS, tmp_path / "tables", GROWN)
    assert (tmp_path / "tables" / "cv.md").read_text() == text
    for name in ("cv.tex", "cv.html"):
        assert "Cyst surface Dice by voxels, 2 mm" in (tmp_path / "tables" / name).read_text()


def test_overlays_show_a_new_region_in_its_colour(root, case, scores, truth, tmp_path, monkeypatch):
    cases = {case.name: case}
    draw_overlays(scores, root / "found", cases, tmp_path / "found", GROWN)
    draw_overlays(scores, root / "plain", cases, tmp_path / "plain", GROWN)
    for rank in RANKS:
        found, plain = (tmp_path / name / f"{rank}.png" for name in ("found", "plain"))
        assert coloured(found, CYST.colour) and coloured(found, KIDNEY.colour)
        assert not coloured(plain, CYST.colour) and coloured(plain, KIDNEY.colour)
    drawn = []
    monkeypatch.setattr(overlays, "save", lambda figure, _: drawn.append(figure))
    draw_overlays(scores, root / "found", cases, tmp_path, GROWN)
    plt.close("all")
    best = drawn[0]
    dice = dice_by_hand(truth)
    assert best.get_suptitle() == (
        "best case, case_00000: kidney Dice 1.000, "
        f"masses Dice {dice['masses_dice']:.3f}, tumour Dice 1.000 (found), "
        f"cyst Dice {dice['cyst_dice']:.3f} (found)"
    )
    legend = best.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == list(GROWN.names)
    colours = [line.get_color() for line in legend.get_lines()]
    assert colours == [region.colour for region in GROWN.regions]


def test_located_regions_show_a_new_region_in_its_colour(scores, truth, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(located, "save", lambda figure, _: drawn.append(figure))
    draw_located(scores, "tiny", tmp_path / "unused.png", GROWN)
    plt.close("all")
    lines = drawn[0].axes[0].get_lines()
    assert [(line.get_label(), line.get_color()) for line in lines] == [
        (region.name, region.colour) for region in GROWN.regions
    ]
    assert len({line.get_marker() for line in lines}) == 4
    cyst = truth == 3
    assert lines[3].get_ydata() == pytest.approx([cyst[..., :32].sum() / cyst.sum()], abs=1e-6)


def test_labels_beyond_the_grown_table_are_refused(root, truth, tmp_path):
    image = read_header(root / "data/case_00000/imaging.nii.gz")
    write_like(tmp_path / "odd.nii.gz", np.where(truth == 3, 4, truth).astype(np.uint8), image)
    with pytest.raises(InputError, match=r"label values \[4\]: only .* and 3 cyst are allowed"):
        read_label(read_header(tmp_path / "odd.nii.gz"), GROWN)
