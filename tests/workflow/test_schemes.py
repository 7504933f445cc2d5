"""A run on labels with cysts: a row that finds them beside one of two classes."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import ndimage

from renal.data.phantom import write_phantom
from renal.recipe.schemes import KITS23
from renal.report.annotators import ANNOTATORS

from .conftest import Project, demo_on, make_project

pytestmark = pytest.mark.slow
FOUND = {"tunet_cyst": KITS23.names, "tunet": ("kidney", "tumour")}


@pytest.fixture(scope="module")
def schemes(tmp_path_factory) -> Project:
    """The method of demos/kits23_tunet.yaml, with and without cysts, on four small cases."""
    folder = tmp_path_factory.mktemp("schemes")
    names = write_phantom(folder / "data", labelled=4, unlabelled=0, seed=1, size=64, labels=KITS23)
    write_outlines(folder / "data" / names[0])
    configuration = demo_on(folder / "data", "kits23_tunet", {"methods": list(FOUND)})
    overrides = configuration["overrides"]["tunet_cyst"]
    overrides["stages"]["segment"]["training"]["epochs"] = 12
    configuration["overrides"] = dict.fromkeys(FOUND, overrides)
    project = make_project(folder, configuration)
    run = project.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return project


def write_outlines(case: Path) -> None:
    """Two annotators' outlines of each kidney, tumour and cyst as KiTS23 has them."""
    label = nib.load(case / "segmentation.nii.gz")
    volume = np.asanyarray(label.dataobj)
    for name, mask in (("kidney", volume > 0), ("tumor", volume == 2), ("cyst", volume == 3)):
        if not mask.any():
            continue
        for annotator, outline in ((1, mask), (2, ndimage.binary_dilation(mask))):
            path = case / f"instances/{name}_instance-1_annotation-{annotator}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(outline.astype(np.uint8), label.affine), path)


@pytest.fixture(scope="module")
def damnet_demo(tmp_path_factory) -> Project:
    """demos/kits23.yaml, on the phantom that it names."""
    folder = tmp_path_factory.mktemp("damnet_cyst")
    write_phantom(folder / "data", labelled=12, unlabelled=0, seed=1, size=128, labels=KITS23)
    project = make_project(folder, demo_on(folder / "data", "kits23", {}))
    run = project.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return project


def test_cysts_are_found(damnet_demo):
    confusion = np.zeros((4, 4), int)  # truth, prediction
    for path in (damnet_demo.folder / "results/damnet_cyst/segmentation").glob("case_*"):
        truth = label_map(damnet_demo.folder / f"data/{path.name[:10]}/segmentation.nii.gz")
        np.add.at(confusion, (truth, label_map(path)), 1)
    dice = 2 * np.diag(confusion) / (confusion.sum(0) + confusion.sum(1))
    assert dice[3] > 0.3
    assert confusion[3, 3] > max(confusion[3, 0], confusion[3, 1])
    table = pd.read_csv(damnet_demo.folder / "results/tables/cv.csv")
    native = table[(table["method"] == "damnet_cyst") & (table["grid"] == "native")]
    assert native.set_index("metric").loc["masses_dice", "mean"] > 0.4


def label_map(path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


@pytest.mark.parametrize("method", FOUND)
def test_rows_are_scored_for_what_they_look_for_by_the_official_classes(schemes, method):
    scores = pd.read_csv(schemes.folder / f"results/{method}/scores.csv")
    native = scores[scores["grid"] == "native"].set_index("case")
    assert len(native) == 4
    cysts = 0
    for case, row in native.iterrows():
        truth = label_map(schemes.folder / f"data/{case}/segmentation.nii.gz")
        found = label_map(schemes.folder / f"results/{method}/segmentation/{case}.nii.gz")
        assert set(np.unique(found)) <= {0, 1, 2} | ({3} if method == "tunet_cyst" else set())
        assert found.any()
        cysts += np.count_nonzero(truth == 3)
        for region in KITS23.regions:
            if region.name not in FOUND[method]:
                continue
            one, other = (np.isin(label, region.labels) for label in (found, truth))
            total = one.sum() + other.sum()
            dice = 2 * (one & other).sum() / total if total else 1.0
            assert row[f"{region.name}_dice"] == pytest.approx(dice, abs=1e-6)
    assert cysts
    for name in set(KITS23.names) - set(FOUND[method]):
        assert scores.filter(like=f"{name}_").isna().all(axis=None)
    assert scores["composite"].notna().all() == (method == "tunet_cyst")


def test_tables_quote_what_was_published_by_these_labels(schemes):
    text = (schemes.folder / "results/tables/cv.md").read_text()
    assert "official KiTS23 Dice" in text and "KiTS23 winner, test set, published" in text
    assert "leaderboard 2020" not in text  # KiTS19's
    assert "[0.857" not in text  # TuNet's, by KiTS19's labels
    table = pd.read_csv(schemes.folder / "results/tables/cv.csv")
    masses = table[table["metric"] == "masses_surface_area_dice"]
    assert set(masses.dropna(subset="mean")["method"]) == {"tunet_cyst", ANNOTATORS}
    assert table["published"].isna().all()


def test_annotators_among_themselves_have_a_row(schemes):
    table = pd.read_csv(schemes.folder / "results/tables/cv.csv")
    row = table[table["method"] == ANNOTATORS].set_index("metric")
    assert 0.3 < row.loc["kidney_dice", "mean"] < 1
    assert row.loc["kidney_dice", "cases"] == 1
    assert ANNOTATORS.capitalize() in (schemes.folder / "results/tables/cv.md").read_text()


def test_another_colour_draws_and_another_tolerance_scores_and_neither_trains(schemes):
    assert schemes.plan() == {}
    keys = ("labels", "title", "colour", "tolerance_mm", "lesion")
    regions = {r.name: {key: getattr(r, key) for key in keys} for r in KITS23.regions}
    drawn = {"write_tables", "compare", "write_page", "check_segmented"}
    drawn |= {"draw_comparison", "draw_gallery", "draw_overlays"}
    for change, again in (
        ({"colour": "#123456"}, drawn),
        ({"tolerance_mm": 2.0}, drawn | {"evaluate", "collect_scores", "score_annotators"}),
    ):
        masses = {"masses": regions["masses"] | change}
        changed = schemes.plan("--config", f"data={json.dumps({'regions': regions | masses})}")
        assert set(changed) == again


def test_other_labels_are_checked_and_learned_anew(schemes):
    path = schemes.folder / "run.yaml"
    configured = path.read_text()
    configuration = yaml.safe_load(configured)
    configuration["data"]["labels"] = "kits19"
    configuration["methods"] = ["tunet"]
    del configuration["overrides"]["tunet_cyst"]
    path.write_text(yaml.safe_dump(configuration))
    again = schemes.plan()
    path.write_text(configured)
    assert (again["validate"], again["train"], again["evaluate"]) == (2, 2, 2)
