"""TuNet's ten rows: what they share when planned, and a run of TuNet and of its ensembles."""

from itertools import product

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

from renal import recipe
from renal.data.phantom import write_phantom
from renal.handover.predictions import native_mask
from renal.handover.prepared import read_index
from renal.labels import KITS19

from .conftest import (
    REPOSITORY,
    Project,
    assert_segmented_in_native_geometry,
    demo_on,
    make_project,
)

DEMO = yaml.safe_load((REPOSITORY / "demos/tunet.yaml").read_text())
ROWS = DEMO["methods"]
TRAINED, ENSEMBLES = ROWS[:8], ROWS[8:]
VARIANTS = ("tunet", "tunet_median", "tunet_seb", "tunet_seb_median")

# -- what is planned -----------------------------------------------------------------------------

# The sketch has 9 batches, 7 of them labelled; groups for prediction are 5 folds and 2 unlabelled
# batches. Whatever is asked for by name is segmented, scored and drawn.
PREPARED = {"validate": 9, "list_cases": 1, "check_cases": 1}
ONE_ROW = {
    "merge": 7,
    "evaluate": 5,
    "collect_scores": 1,
    "collect_segmentations": 1,
    "write_submission": 1,
    "draw_overlays": 1,
    "check_segmented": 1,
}


def trainings(*owners: tuple[str, str]) -> set[tuple[str, str, int]]:
    """Those of methods and stages, on each of five folds."""
    return {(method, stage, fold) for (method, stage), fold in product(owners, range(5))}


def test_all_rows_share_their_preparation(sketch):
    sketch.configure({"methods": ROWS})
    assert sketch.plan() == {
        **PREPARED,
        "resample": 9 + 9,  # the segmenting nets' grid, and the localization net's
        "window_normalize": 2 * 9 + 9,  # with and without median
        "train": 9 * 5,
        "predict": 9 * 7,
        "draw_curves": 9,  # tunet_localized and the ensembles train nothing
        **{rule: len(ROWS) * count for rule, count in ONE_ROW.items()},
        "check_segmented": 1,  # of all rows at once
        "write_tables": 1,
        "compare": 1,
        "draw_comparison": 1,
        "draw_gallery": 1,
        "write_page": 1,
    }


def test_trained_rows_share_one_resampling(sketch):
    sketch.configure({"methods": TRAINED})
    plan = sketch.plan()
    assert plan["resample"] == 9
    assert plan["window_normalize"] == 2 * 9
    assert plan["train"] == 8 * 5


def test_ensemble_by_name(sketch):
    sketch.configure({"methods": ["tunet_ensemble"]})
    planned = sketch.planned("tunet_ensemble")
    assert planned.jobs == {
        **PREPARED,
        "resample": 9,
        "window_normalize": 2 * 9,
        "train": 4 * 5,
        "predict": 4 * 7,
        **ONE_ROW,
    }
    assert planned.trainings == trainings(*product(VARIANTS, ["segment"]))


def test_cleaned_ensemble_by_name(sketch):
    """The variants are trained and predict, but are no rows: nothing of theirs is scored."""
    sketch.configure({"methods": ["tunet_ensemble_post"]})
    planned = sketch.planned("tunet_ensemble_post")
    assert planned.jobs == {
        **PREPARED,
        "resample": 2 * 9,
        "window_normalize": 3 * 9,
        "train": 5 * 5,
        "predict": 5 * 7,
        "draw_curves": 1,
        **ONE_ROW,
    }
    owners = [*product(VARIANTS, ["segment"]), ("tunet_ensemble_post", "localize")]
    assert planned.trainings == trainings(*owners)


def test_demo_keeps_to_patches():
    """Patches are smaller than the grid and overlap, and rows differ as they do in the paper."""
    values = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    recipes = recipe.load_methods(recipe.check_configuration(recipe.merged(values, DEMO)))
    for name in TRAINED:
        stage = recipes[name].stages["segment"]
        assert (stage.intensity.median == 3) == name.endswith("median")
        if "2d" in name:
            continue
        size, sampler = stage.geometry.size, stage.training.sampler
        assert sampler.size == stage.inference.size
        assert any(side < length for side, length in zip(sampler.size, size, strict=True))
        for side, length, step, overlap in zip(
            sampler.size, size, sampler.stride, stage.inference.overlap, strict=True
        ):
            assert side == length or (step < side and overlap == side - step)


# -- a run ---------------------------------------------------------------------------------------

RUN_ROWS = ["tunet", *ENSEMBLES]
LABELLED, UNLABELLED = 6, 1
# The demo's patches overlap as much on a grid of its own; enough epochs to find something.
GRID = (16, 32, 32)
SMALL = {
    **{
        name: {
            "segment": {
                "geometry": {"size": [*GRID]},
                "training": {
                    "sampler": {"size": [16, 24, 24], "stride": [16, 8, 8]},
                    "optimizer": {"learning_rate": 0.02},
                    "epochs": 4,
                },
                "inference": {"size": [16, 24, 24], "overlap": [0, 16, 16]},
            }
        }
        for name in VARIANTS
    },
    "tunet_ensemble_post": {
        "localize": {"training": {"optimizer": {"learning_rate": 0.01}, "epochs": 10}}
    },
}


@pytest.fixture(scope="module")
def ensembled(tmp_path_factory) -> Project:
    """The demo's TuNets and ensembles on fewer and smaller cases and a coarser grid."""
    folder = tmp_path_factory.mktemp("tunet")
    write_phantom(folder / "data", labelled=LABELLED, unlabelled=UNLABELLED, seed=0, size=96)
    overrides = {name: {"stages": stages} for name, stages in SMALL.items()}
    changes = {"methods": RUN_ROWS, "overrides": overrides}
    configuration = demo_on(folder / "data", "tunet", changes)
    configuration["overrides"] = {name: configuration["overrides"][name] for name in SMALL}
    project = make_project(folder, configuration)
    run = project.snakemake()
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return project


def results(project: Project):
    return project.folder / "results"


@pytest.mark.slow
def test_they_learn(demo_data, tmp_path):
    """In the demo, of which all rows but those of TuNet and its ensembles are left out."""
    project = make_project(tmp_path, demo_on(demo_data, "tunet", {"methods": RUN_ROWS}))
    overrides = {name: DEMO["overrides"][name] for name in SMALL}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"overrides": overrides}))
    run = project.snakemake("--cores", "2")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    table = pd.read_csv(results(project) / "tables/cv.csv")
    native = table[table["grid"] == "native"].pivot(index="method", columns="metric", values="mean")
    assert list(native.index) == sorted(RUN_ROWS)
    assert native.loc["tunet", "kidney_dice"] >= 0.8
    assert native.loc["tunet_ensemble", "kidney_dice"] >= 0.8
    assert native.loc["tunet_ensemble_post", "kidney_dice"] >= 0.7
    assert native.loc["tunet_ensemble", "tumour_dice"] >= 0.15


def test_ensemble_is_the_mean_of_its_members(ensembled):
    """From the stored maps, in 8 bits within a box, to the label map: step by step."""
    case, entry = next(
        iter(read_index(results(ensembled) / "tunet/segment/prediction/fold0").items())
    )
    labels = {}
    total = np.zeros((2, *GRID), np.float64)
    for name in VARIANTS:
        maps = stored_maps(results(ensembled) / name / "segment/prediction/fold0" / f"{case}.npz")
        labels[name] = label_of(maps, entry)
        total += maps
    labels["mean"] = label_of(total / len(VARIANTS), entry)
    segmentation = read_labels(results(ensembled) / f"tunet_ensemble/segmentation/{case}.nii.gz")
    assert labels["mean"].any()
    np.testing.assert_array_equal(segmentation, labels["mean"])
    for name in VARIANTS:
        assert (segmentation != labels[name]).any()


def stored_maps(path):
    with np.load(path) as arrays:
        maps = np.zeros(arrays["size0"])
        place = tuple(slice(low, high) for low, high in arrays["box0"])
        maps[:, *place] = arrays["levels0"] / 255
    return maps


def label_of(maps, entry):
    masks = [native_mask([one.astype(np.float32)], entry) for one in maps]
    return KITS19.paint(dict(zip(KITS19.names, masks, strict=True)))


def read_labels(path):
    """(z, y, x) label map of a file that KiTS19 stores in this order."""
    return np.asanyarray(nib.load(path).dataobj)


@pytest.mark.parametrize("row", RUN_ROWS)
def test_every_segmentation_has_its_images_geometry(ensembled, row):
    images = sorted((ensembled.folder / "data").glob("case_*/imaging.nii.gz"))
    assert len(images) == LABELLED + UNLABELLED
    assert_segmented_in_native_geometry(results(ensembled) / row / "segmentation", images)


def test_threshold_of_the_cleaning_trains_nothing(ensembled):
    kept = (ensembled.folder / "run.yaml").read_text()
    ensembled.configure({"overrides": {"tunet_ensemble_post": {"merge": {"threshold": 0.6}}}})
    try:
        plan = ensembled.plan()
    finally:
        (ensembled.folder / "run.yaml").write_text(kept)
    # Two folds and the unlabelled cases are merged again; the other rows stay.
    shown = ("write_tables", "compare", "draw_comparison", "draw_gallery", "write_page")
    tables = dict.fromkeys(shown, 1)
    assert plan == {**ONE_ROW, "merge": 3, "evaluate": 2, **tables}
    assert ensembled.plan() == {}


def test_tables_have_all_rows_beside_the_published_figures(ensembled):
    text = (results(ensembled) / "tables/cv.md").read_text()
    resampled = text.partition("## Each method's own grid")[2].partition("##")[0]
    for row, kidney, tumour in (
        ("tunet", 0.857, 0.308),
        ("tunet_ensemble", 0.894, 0.331),
        ("tunet_ensemble_post", 0.902, 0.408),
    ):
        (line,) = [line for line in resampled.splitlines() if f"`{row}`" in line]
        assert f"[{kidney:.3f}" in line and f"[{tumour:.3f}" in line
    table = pd.read_csv(results(ensembled) / "tables/cv.csv")
    assert set(table.loc[table["published"].notna(), "grid"]) == {"resampled"}


def test_tables_tell_how_checkpoints_were_chosen(ensembled):
    text = (results(ensembled) / "tables/cv.md").read_text()
    (note,) = [line for line in text.splitlines() if "steered by cases" in line]
    assert all(row in note for row in RUN_ROWS)
    # And it is so: no case that was watched is one that was held out.
    folds = pd.read_csv(results(ensembled) / "folds.csv", comment="#").set_index("case")["fold"]
    for fold in (0, 1):
        path = results(ensembled) / f"tunet/segment/fold{fold}/run.json"
        watched = yaml.safe_load(path.read_text())["validation_cases"]
        assert watched
        assert str(fold) not in set(folds[watched].astype(str))
