"""Models of other settings than the recipe has now are neither packed nor archived."""

import json
import shutil

import pytest

from renal.apply.archive import _models, gather
from renal.apply.export import export
from renal.apply.finished import account_of
from renal.errors import InputError
from renal.handover.models import model_file
from renal.handover.seals import write_seal
from renal.recipe import load_methods

from .conftest import TINY, tiny_configuration

EDITS = {
    "epochs": ({"training": {"epochs": 7}}, r"trained with epochs \d+, the recipe .* has 7"),
    "rate": (
        {"training": {"optimizer": {"learning_rate": 0.5}}},
        "trained with optimizer.learning_rate 0.001, the recipe of resvnet now has 0.5",
    ),
    "split": (
        {"training": {"validation": {"share": 0.25, "keep": "best"}}},
        r"trained with validation\.keep None, the recipe of resvnet now has",
    ),
    "size": (
        {"geometry": {"size": [16, 48, 48]}},
        r"trained on 16x32x32-\w{8}/\w{8}, the geometry, .* of resvnet now give 16x48x48-",
    ),
    "window": ({"intensity": {"window": [-50, 150]}}, r"trained on 16x32x32-\w{8}/\w{8}, "),
}


def edited(folder, change, **changes):
    stages = TINY | {"whole": {**TINY["whole"], **change}}
    if "training" in change:
        training = TINY["whole"]["training"] | change["training"]
        stages["whole"] = stages["whole"] | {"training": training}
    changes["overrides"] = {"resvnet": {"stages": stages}} | changes.get("overrides", {})
    return tiny_configuration(folder, **changes)


@pytest.mark.parametrize("edit", EDITS)
def test_a_row_that_was_edited_after_its_training_is_not_packed(edit, packed, tmp_path):
    shutil.copytree(packed.parent / "results", tmp_path / "results")
    change, fault = EDITS[edit]
    with pytest.raises(InputError, match=fault) as error:
        export("resvnet", edited(tmp_path, change), tmp_path / "row.renal")
    assert str(error.value).startswith(f"{tmp_path}/results/resvnet/whole/fold0/run.json: ")
    assert str(error.value).endswith(
        "run the workflow again, or set config.yaml and the recipe back"
    )
    assert not (tmp_path / "row.renal").exists()


@pytest.mark.parametrize("edit", EDITS)
def test_a_run_that_was_edited_after_its_trainings_is_not_archived(edit, finished_run):
    configuration, folder = finished_run
    change, fault = EDITS[edit]
    foreign = {"nnunet_segmentations": {"external": {"folder": str(folder / "elsewhere")}}}
    methods = configuration.methods
    with pytest.raises(InputError, match=fault):
        gather(edited(folder, change, methods=methods, overrides=foreign), segmentations=False)


@pytest.mark.parametrize("name", ["whole/fold0/model.safetensors", "whole/fold1/run.json"])
def test_a_model_that_is_not_as_its_training_left_it_is_neither_packed_nor_archived(
    name, packed, tmp_path
):
    """Another fold's, or with a flipped bit: a package would vouch for it by a hash of its own."""
    shutil.copytree(packed.parent / "results", tmp_path / "results")
    path, configuration = tmp_path / "results/resvnet" / name, tiny_configuration(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(InputError, match=f"{path}: damaged or changed since it was written"):
        export("resvnet", configuration, tmp_path / "row.renal")
    with pytest.raises(InputError, match=f"{path}: damaged or changed since it was written"):
        _models(configuration.results, load_methods(configuration), ["resvnet/whole"], 2)


def test_an_account_of_before_grids_were_told_and_a_schema_that_has_grown(packed, tmp_path):
    shutil.copytree(packed.parent / "results", tmp_path / "results")
    configuration = tiny_configuration(tmp_path)
    recipes = load_methods(configuration)
    model = model_file(configuration.results, "resvnet", "whole", "fold0")
    path = model.with_name("run.json")
    account = json.loads(path.read_text())
    del account["prepared"], account["settings"]["collapse_steps"]
    path.write_text(json.dumps(account))
    write_seal(path.parent)
    assert account_of(model, recipes, "resvnet", "whole") == account
    del account["settings"]["network"]
    path.write_text(json.dumps(account))
    write_seal(path.parent)
    with pytest.raises(InputError, match=r"run\.json: damaged, or of another version"):
        account_of(model, recipes, "resvnet", "whole")
