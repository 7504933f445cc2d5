"""Every fault is told in one line, by its file and key."""

import pytest

from renal import recipe
from renal.errors import InputError
from tests.unit.recipe.helpers import (
    assert_one_line,
    nested,
    recipe_values,
    with_value,
    write_recipe,
)

FAULTS = {
    "colour": ("green", "unknown key"),
    "stages.whole.training.optimiser": ("adam", "unknown key"),
    "stages.whole.training.epochs": ("many", "valid integer"),
    "stages.whole.training.batch_size": (0, "greater than 0"),
    "stages.whole.training.gpus": (9, "gpus must not be greater than batch_size"),
    "stages.whole.training.loss.squared": ("perhaps", "valid boolean"),
    "stages.whole.training.optimizer.learning_rate": (-1e-3, "greater than 0"),
    "stages.whole.training.network.width": (15, "multiple of 2"),
    "stages.whole.training.network.name": ("unknown_net", "res_vnet_cascade"),
    "stages.whole.training.target": (3, "valid string"),
    "stages.whole.geometry.size": ([128, 160], "Field required"),
    "stages.whole.intensity.window": ([185, -125], "window must be [low, high] with low < high"),
    "stages.whole.training.augmentation": (
        [{"name": "flip", "probability": 1}, {"name": "twist"}],
        "augmentation.1.name: choose from 'rotation', 'flip'",
    ),
    "stages.whole": ("yes", "valid dictionary"),
    "stages.whole.training.loss": ({"name": "tversky"}, "loss.false_negatives: Field required"),
    "stages.whole.training.schedule": ({"name": 3}, "schedule.name: choose from 'step'"),
    "stages.whole.training.sampler": ({"name": "volume", "size": 3}, "sampler.size: unknown key"),
    "stages.whole.training.validation": ({"share": 1, "keep": "best"}, "less than 1"),
    "stages.whole.geometry.spacing": ([1, 1], "Field required"),
    "stages.whole.inference": ({"name": "sliding_windows"}, "'whole', 'sliding_window'"),
    "merge.name": ("union", "'nested', 'hysteresis'"),
    "published": ({"where": "Table 1"}, "Field required"),
}


def named(key: str, expected: str) -> str:
    """How a message names `key`: a check of a whole section tells the section, then the rest."""
    section, _, last = key.rpartition(".")
    return f"{section}: {last}" if expected.startswith(f"{last} ") else key


@pytest.mark.parametrize("key", FAULTS)
def test_a_fault_in_a_recipe_is_told_with_file_and_key(tmp_path, key):
    value, expected = FAULTS[key]
    write_recipe(tmp_path, "mine", with_value(recipe_values(), key, value))
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, "workflow/methods/mine.yaml: ", named(key, expected), expected)


@pytest.mark.parametrize("key", [key for key in FAULTS if key != "stages.whole"])
def test_a_fault_in_an_override_is_laid_at_the_door_of_config_yaml(key):
    value, expected = FAULTS[key]
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested(key, value))
    assert_one_line(error, "config.yaml: overrides.resvnet: ", named(key, expected), expected)


def test_the_keys_of_a_message_are_those_of_the_file():
    """Without the names of components and of types, which pydantic puts between them."""
    network = {"name": "unet", "dimensions": 4, "depth": 1}
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.whole.training.network", network))
    keys = [
        part.split(": ")[0] for part in str(error.value).split("overrides.resvnet: ")[1].split("; ")
    ]
    section = "stages.whole.training.network"
    assert keys == [f"{section}.{key}" for key in ("dimensions", "depth", "width", "normalization")]


def test_an_unknown_component_is_told_with_those_there_are():
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.whole.training.drawing.name", "hardest"))
    assert str(error.value) == (
        "config.yaml: overrides.resvnet: stages.whole.training.drawing.name: choose from "
        "'uniform', 'balanced', 'hard' (is 'hardest'): mend it"
    )


@pytest.mark.parametrize("value", [[], {"classes": []}, {"class": ["kidney"]}])
def test_a_list_of_maps_holds_regions(value):
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.whole.training.target", value))
    assert_one_line(error, "stages.whole.training.target")


HYSTERESIS = {
    "name": "hysteresis",
    "threshold": 0.5,
    "kidney_growth": {"default": 0.3, "empty": 0.1},
    "tumour_growth": {"default": 0.3, "small": 0.2, "empty": 0.1},
    "small_voxels": 9,
}


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ({**HYSTERESIS, "maps": {"kidney": "whole"}}, "maps must say where tumour, within is"),
        (
            {**HYSTERESIS, "maps": dict.fromkeys(("kidney", "tumour", "within", "all"), "whole")},
            "maps: all: choose from kidney, tumour, within",
        ),
    ],
)
def test_a_merge_has_the_maps_that_it_needs_and_no_others(tmp_path, merge, expected):
    write_recipe(tmp_path, "mine", {**recipe_values(), "merge": merge})
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, f"workflow/methods/mine.yaml: merge: {expected}")


def test_a_missing_key_is_named(tmp_path):
    values = recipe_values()
    del values["stages"]["tumour"]["training"]["epochs"]
    write_recipe(tmp_path, "mine", values)
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, "stages.tumour.training.epochs: Field required")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("stages.whole.training.optimizer.learning_rate", True, "learning_rate"),
        ("stages.whole.intensity.window", [-200, True], "intensity.window.1"),
    ],
)
def test_true_is_no_number(key, value, told):
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested(key, value))
    assert_one_line(error, "config.yaml: overrides.resvnet", told, "a number is expected (is True)")


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize(
    "key",
    ["stages.whole.training.optimizer.learning_rate", "stages.whole.geometry.body.opening_mm"],
)
def test_numbers_that_json_cannot_carry_to_a_step_are_refused(key, value):
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested(key, value))
    assert_one_line(error, "config.yaml: overrides.resvnet", key)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "pretrained: Input should be a valid dictionary"),
        ({"file": "a", "url": "https://b", "sha256": "xyz"}, "pretrained.sha256: String should"),
        ({"url": "http://b"}, "pretrained.url: String should"),
    ],
)
def test_a_fault_in_pretrained_weights_is_told_once(value, expected):
    with pytest.raises(InputError) as error:
        recipe.load_method("damnet", nested("stages.fine.training.network.pretrained", value))
    assert_one_line(error, expected)
    assert "; " not in str(error.value)
    without = nested("stages.fine.training.network.pretrained", False)
    stages = recipe.load_method("damnet", without).stages
    assert stages["fine"].training.network.pretrained is None
