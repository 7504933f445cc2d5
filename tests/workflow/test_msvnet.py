"""msvnet, its ablation, and the row that keeps all tumours: what they share, and a run."""

from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import ndimage

from renal import recipe
from renal.evaluate.merge import merge_case
from renal.handover.prepared import PreparedCase

from .conftest import (
    REPOSITORY,
    Project,
    assert_segmented_in_native_geometry,
    demo_on,
    make_project,
)

ABLATION = ["msvnet_hdc", "msvnet_attention", "msvnet_se", "msvnet_multiscale", "msvnet_vnet"]
ROWS = ["msvnet", "msvnet_all_components", *ABLATION]

# -- what is planned -----------------------------------------------------------------------------


def test_rows_share_the_kidney_stage(sketch):
    """12 labelled cases in 7 batches, 3 unlabelled ones in 2, and 7 groups for prediction."""
    sketch.configure({"methods": ROWS})
    assert sketch.plan() == {
        "validate": 9,
        "list_cases": 1,
        "check_cases": 1,
        "resample": 9,
        "window_normalize": 9,
        "crop_true_roi": 7,  # one set of true regions
        "crop_roi": 7,  # and one of predicted ones
        "train": (1 + 6) * 5,
        "predict": (1 + 6) * 7,
        "merge": 7 * 7,
        "evaluate": 7 * 5,
        "collect_scores": 7,
        "collect_segmentations": 7,
        "write_submission": 7,
        "write_tables": 1,
        "compare": 1,
        "draw_comparison": 1,
        "draw_gallery": 1,
        "write_page": 1,
        "draw_overlays": 7,
        "draw_curves": 1 + 6,
        "check_segmented": 1,
    }


def test_ablation_row_by_name(sketch):
    """It needs the kidney stage that msvnet trained, but nothing else of msvnet."""
    sketch.configure({"methods": ["msvnet_vnet"]})
    owners = [("msvnet", "kidney"), ("msvnet_vnet", "tumour")]
    assert sketch.planned("msvnet_vnet").trainings == {
        (method, stage, fold) for (method, stage), fold in product(owners, range(5))
    }


def test_keeping_all_tumours_trains_nothing_of_its_own(sketch):
    sketch.configure({"methods": ["msvnet_all_components"]})
    assert sketch.planned("msvnet_all_components").trainings == {
        ("msvnet", stage, fold) for stage, fold in product(["kidney", "tumour"], range(5))
    }


def test_every_model_by_name(sketch):
    sketch.configure({"methods": ROWS})
    wanted = {
        ("msvnet", "kidney"),
        *((method, "tumour") for method in ["msvnet", *ABLATION]),
    }
    wanted = {(method, stage, fold) for (method, stage), fold in product(wanted, range(5))}
    targets = [
        f"results/{method}/{stage}/fold{fold}/model.safetensors" for method, stage, fold in wanted
    ]
    assert sketch.planned(*targets).trainings == wanted


def test_demo_takes_one_mechanism_away_at_a_time():
    """Its overrides leave the rows as different as the paper's are."""
    values = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    demo = yaml.safe_load((REPOSITORY / "demos/msvnet.yaml").read_text())
    recipes = recipe.load_methods(recipe.check_configuration(recipe.merged(values, demo)))
    trainings = [recipes[method].stages["tumour"].training for method in ["msvnet", *ABLATION]]
    differing = [
        [key for key, value in before if value != dict(after)[key]]
        for before, after in pairwise(
            [*training.network, ("drawing", training.drawing.name)] for training in trainings
        )
    ]
    assert differing == [["drawing"], ["dilations"], ["attention"], ["squeeze"], ["multi_scale"]]


# -- several tumours -----------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "tumours"), [("msvnet", 1), ("msvnet_all_components", 2)])
def test_tumours_that_are_kept(method, tumours):
    """Two tumours in one kidney, of 4 x 4 x 4 and 2 x 2 x 2 voxels."""
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    recipes = recipe.load_methods(recipe.check_configuration(config | {"methods": [method]}))
    shape = (16, 20, 20)
    kidney = np.zeros((1, *shape), np.float32)
    kidney[0, 3:14, 2:16, 2:16] = 1
    tumour = np.zeros((1, 10, 20, 20), np.float32)  # of the slices 4 to 13
    tumour[0, 1:5, 4:8, 4:8] = 1
    tumour[0, 6:8, 10:12, 10:12] = 1
    whole = ((0, 16), (0, 20), (0, 20))
    stages = {
        "kidney": (PreparedCase("case", shape, [whole]), [kidney]),
        "tumour": (PreparedCase("case", shape, [((4, 14), *whole[1:])]), [tumour]),
    }
    label = merge_case(stages, recipe.merging(recipes, method))
    assert ndimage.label(label == 2)[1] == tumours
    expected = 64 if tumours == 1 else 64 + 8
    assert (label == 2).sum() == expected
    assert (label > 0).sum() == 11 * 14 * 14


# -- a run ---------------------------------------------------------------------------------------

RUN_ROWS = ["msvnet", "msvnet_all_components", "msvnet_vnet"]
LABELLED, UNLABELLED = 20, 2


@pytest.fixture(scope="module")
def compared(demo_data, tmp_path_factory) -> Project:
    """Three rows of the demo: about two and a half minutes on two cores."""
    configuration = demo_on(demo_data, "msvnet", {"methods": RUN_ROWS})
    overrides = configuration["overrides"]
    configuration["overrides"] = {name: overrides[name] for name in ("msvnet", "msvnet_vnet")}
    project = make_project(tmp_path_factory.mktemp("compared"), configuration)
    run = project.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return project


@pytest.mark.slow
def test_it_learns(compared):
    table = pd.read_csv(compared.folder / "results/tables/cv.csv")
    assert table["method"].drop_duplicates().tolist() == RUN_ROWS
    means = table.set_index(["method", "grid", "metric"])["mean"]
    kidney = [means[method, "native", "kidney_dice"] for method in RUN_ROWS]
    assert min(kidney) >= 0.8
    assert max(kidney) == min(kidney)  # one kidney stage for all rows
    assert means["msvnet", "native", "tumour_dice"] > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("method", RUN_ROWS)
def test_every_case_is_segmented_in_its_geometry(compared, demo_data, method):
    configuration = yaml.safe_load((compared.folder / "run.yaml").read_text())
    left_out = configuration["data"]["exclude"]
    paths = sorted(demo_data.glob("case_*/imaging.nii.gz"))
    images = [path for path in paths if path.parent.name not in left_out]
    assert len(images) == LABELLED + UNLABELLED
    folder = compared.folder / "results" / method
    assert_segmented_in_native_geometry(folder / "segmentation", images)
    assert (folder / "submission/prediction_00031.nii.gz").exists()


@pytest.mark.slow
def test_hard_slices_are_named(compared):
    stage = compared.folder / "results/msvnet/tumour/fold0"
    drawn = pd.read_csv(stage / "drawing.csv")
    assert drawn.columns.tolist() == ["case", "place", "case_dice", "dice", "weight"]
    assert not drawn.duplicated(["case", "place"]).any()
    assert drawn["case_dice"].is_monotonic_increasing
    held_out = set(pd.read_csv(compared.folder / "results/msvnet/scores/fold0.csv")["case"])
    assert not held_out & set(drawn["case"])
    # Of a weight of at least 0.2; a slice that was never right weighs most.
    assert drawn["weight"].between(0.2, 1.2).all()
    assert drawn["weight"].nunique() > 5
    assert not (compared.folder / "results/msvnet_vnet/tumour/fold0/drawing.csv").exists()
