"""Plans: one configuration is kept, with the recipe's changes on top."""

import json

import pytest

from renal.errors import InputError

from .conftest import FULL


@pytest.fixture
def planned(nnunet, tmp_path, monkeypatch):
    """A function that plans, and gives the plans."""
    from renal.learn.nnunet.planning import plan

    folder = tmp_path / "Dataset001_renal"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))

    def work(configuration: str, changes: dict) -> dict:
        plan(str(folder), "nnUNetPlannerResEncM", configuration, changes, threads=1)
        return json.loads((folder / "nnUNetPlans.json").read_text())

    return work


def test_one_configuration_is_kept_and_its_folder_has_its_name(planned):
    plans = planned("3d_fullres", {})
    kept = FULL | {"data_identifier": "3d_fullres"}
    assert plans["configurations"] == {"3d_fullres": kept}
    assert plans["experiment_planner_used"] == "nnUNetPlannerResEncM"


def test_changes_go_on_top_key_by_key(planned):
    changes = {"patch_size": [8, 8, 8], "architecture": {"arch_kwargs": {"n_stages": 2}}}
    kept = planned("3d_fullres", changes)["configurations"]["3d_fullres"]
    assert kept["patch_size"] == [8, 8, 8] and kept["batch_size"] == 2
    assert kept["architecture"]["network_class_name"].endswith("PlainConvUNet")
    arguments = kept["architecture"]["arch_kwargs"]
    assert arguments == FULL["architecture"]["arch_kwargs"] | {"n_stages": 2}


def test_a_configuration_that_is_not_planned_is_told_with_those_that_are(planned):
    with pytest.raises(InputError, match=r"3d_lowres is not planned .* 2d, 3d_fullres"):
        planned("3d_lowres", {})
