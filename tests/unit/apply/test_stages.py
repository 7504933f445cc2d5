"""The same bytes in memory as by the workflow's steps, for every row of all papers."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from random_models import write_results

from renal.apply import stages
from renal.apply.export import export
from renal.apply.inputs import NiftiInput
from renal.apply.package import read_package
from renal.apply.stages import Row
from renal.errors import InputError
from renal.evaluate.merge import merge
from renal.handover.models import model_file
from renal.handover.predictions import native_mask_of
from renal.handover.prepared import PreparedCase
from renal.learn.prediction import predict
from renal.prepare.crop_body import crop_body
from renal.prepare.crop_roi import crop_roi
from renal.prepare.resample import resample
from renal.prepare.window_normalize import window_normalize
from renal.recipe import (
    Configuration,
    check_configuration,
    load_methods,
    merged,
    merging,
    owners_of,
    prediction,
    region_crop,
)

from ..recipe.helpers import ROOT
from .test_package import rewritten

# Every kind of stage, member and merge; the other rows differ in their networks' settings alone.
ROWS = [
    ("demo", "resvnet"),
    ("demos/tunet", "tunet_median"),
    ("demos/tunet", "tunet_unet2d"),
    ("demos/tunet", "tunet_ensemble_post"),
    ("demos/localized", "mrbnet"),
    pytest.param("demos/localized", "damnet", marks=pytest.mark.slow),
    ("demos/msvnet", "msvnet"),
    ("demos/msvnet", "msvnet_all_components"),
    ("demos/msvnet", "msvnet_hdc"),
]


# Untrained networks find something nearly everywhere: fewer windows on coarser grids.
SLICES = {"geometry": {"size": [None, 32, 32]}}
PATCHES = {
    "geometry": {"size": [16, 32, 32]},
    "training": {"sampler": {"size": [16, 24, 24], "stride": [16, 8, 8]}},
    "inference": {"size": [16, 24, 24], "overlap": [0, 16, 16]},
}
COARSER = {
    "demo": {"resvnet": {"whole": {"geometry": {"size": [16, 32, 32]}}}},
    "demos/tunet": {
        method: {"segment": PATCHES}
        for method in ("tunet", "tunet_median", "tunet_seb", "tunet_seb_median")
    },
    "demos/localized": {"mrbnet": {"segment": {"geometry": {"spacing": [8, 8, 8]}}}},
    "demos/msvnet": {
        "msvnet": {"kidney": SLICES, "tumour": SLICES},
        "msvnet_hdc": {"tumour": SLICES},
    },
}


class Steps:
    """A row applied to a case by the steps that the rules run, with files between them."""

    def __init__(self, configuration, case, folder: Path) -> None:
        self.recipes = load_methods(configuration)
        self.folds = [f"fold{fold}" for fold in range(configuration.folds.count)]
        self.results, self.case, self.folder = configuration.results, case, folder

    def predicted(self, method: str, name: str) -> Path:
        stage, folder = self.recipes[method].stages[name], self.folder / method / name
        seen, output = folder / "seen", folder / "predicted"
        if stage.regions is None:
            self._whole(stage, folder)
        else:
            (owner,) = owners_of(self.recipes, method, stage.regions.stage)
            mask_of = partial(native_mask_of, self.predicted(owner, stage.regions.stage))
            crop = region_crop(self.recipes, method, name)
            crop_roi([self.case], crop, mask_of, seen, labels=None)
        models = [model_file(self.results, method, name, fold) for fold in self.folds]
        predict([seen], models, prediction(stage), output, threads=1, bfloat16_on_cpu=False)
        return output

    def _whole(self, stage, folder: Path) -> None:
        boxes = None
        if stage.geometry.body is not None:
            boxes = folder / "boxes.json"
            crop_body([self.case], stage.geometry.body, boxes)
        resample([self.case], stage.geometry, folder / "resampled", boxes=boxes)
        window_normalize(folder / "resampled", stage.intensity, folder / "seen")

    def segmented(self, row: str) -> bytes:
        settings = merging(self.recipes, row)
        predictions = {
            stage: [self.predicted(owner, stage) for owner in owners_of(self.recipes, row, stage)]
            for stage in settings.stages
        }
        merge([self.case], predictions, settings, self.folder / row)
        return (self.folder / row / f"{self.case.name}.nii.gz").read_bytes()


def alone(row: str, values: dict) -> Configuration:
    """Of a demo's rows this one, and those that it takes stages from."""
    needed = load_methods(check_configuration(values | {"methods": [row], "overrides": {}}))
    overrides = {name: values["overrides"][name] for name in needed.keys() & values["overrides"]}
    return check_configuration(values | {"methods": [row], "overrides": overrides})


@pytest.mark.parametrize(("demo", "row"), ROWS, ids=lambda value: value.rpartition("/")[2])
def test_a_packed_row_gives_the_bytes_of_the_steps(demo, row, checked, tmp_path):
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    values |= yaml.safe_load((ROOT / f"{demo}.yaml").read_text())
    values |= {"results": str(tmp_path / "results"), "folds": {"count": 2, "seed": 0}}
    values["data"] = {"root": "data", "maximum_voxels": 10**8}
    values["compute"] |= {"seed": 0}
    coarser = {method: {"stages": stages} for method, stages in COARSER[demo].items()}
    configuration = alone(row, merged(values, {"overrides": coarser}))
    write_results(configuration, checked[1:])  # so that no model has learned from the first
    export(row, configuration, tmp_path / "row.renal")
    applied = Row(read_package(tmp_path / "row.renal"), [0, 1], bfloat16_on_cpu=False)
    case = checked[0]
    given = NiftiInput(case.name, Path(case.image))
    scan = given.read()
    told: list[str] = []
    label = applied.segment(scan.volume, scan.header.spacing, case.name, told.append)
    path = given.write(scan, label, tmp_path)
    assert path.read_bytes() == Steps(configuration, case, tmp_path / "steps").segmented(row)
    assert label.any()  # or nothing was compared
    assert told[-1] == "merge"


def test_weights_of_another_network_are_refused(packed, opened, tmp_path):
    def wider(values):
        for stage in values["stages"].values():
            stage["prediction"]["network"]["width"] = 4

    file = read_package(rewritten(packed, tmp_path / "wider.renal", wider))
    with pytest.raises(InputError, match="does not fit its network"):
        Row(file, [0], bfloat16_on_cpu=False)


def test_the_models_of_the_chosen_folds_are_averaged(opened, monkeypatch):
    given = []
    monkeypatch.setattr(stages, "network_with", lambda weights, settings: weights)
    monkeypatch.setattr(stages, "MeanPredictor", lambda networks, *_, **__: given.append(networks))
    Row(opened, [1], bfloat16_on_cpu=False)
    first, second = opened.package.stages.values()
    assert given == [[opened.weights(stage.models[1])] for stage in (first, second)]


@pytest.mark.parametrize(
    ("members", "expected"),
    [(["one", "two"], 0.5), (["one", "two", "one"], 0.4), (["one"], 0.2)],
)
def test_members_are_averaged_and_one_that_is_there_twice_counts_twice(members, expected):
    case = PreparedCase("ct", (2, 3, 4), [((0, 2), (0, 3), (0, 4))])
    values = {"one": 0.2, "two": 0.8}
    found = {
        name: (case, [np.full((1, 2, 3, 4), value, np.float32)]) for name, value in values.items()
    }
    entry, (region,) = stages._mean(found, tuple(members))
    assert entry is case
    np.testing.assert_allclose(region, expected, rtol=1e-6)


def test_a_prediction_that_is_not_a_number_is_told(opened, checked, monkeypatch):
    row = Row(opened, [0], bfloat16_on_cpu=False)

    def predicted(predictor, images):
        return [np.full((1, *image.shape), np.nan, np.float32) for image in images]

    monkeypatch.setattr(stages.MeanPredictor, "predict", predicted)
    scan = NiftiInput("ct", Path(checked[0].image)).read()
    with pytest.raises(InputError) as error:
        row.segment(scan.volume, scan.header.spacing, "ct", lambda stage: None)
    assert str(error.value) == (
        f"ct: {opened.path}: the prediction of resvnet/whole is not a number: "
        "look at the image's values"
    )
