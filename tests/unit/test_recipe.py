"""Tests of recipes and configuration: the paper's values, and one-line errors for every fault."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from renal import recipe
from renal.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def recipe_values() -> dict:
    return yaml.safe_load((recipe.METHODS / "resvnet.yaml").read_text(encoding="utf-8"))


def configuration_values(name: str = "config.yaml") -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def with_value(values: dict, key: str, value: object) -> dict:
    """A copy of `values` in which the dotted `key` holds `value`."""
    changed = copy.deepcopy(values)
    *parents, last = key.split(".")
    section = changed
    for parent in parents:
        section = section[parent]
    section[last] = value
    return changed


def nested(key: str, value: object) -> dict:
    """The mapping that holds nothing but `value` under the dotted `key`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def write_recipe(folder: Path, name: str, values: dict) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def assert_one_line(error: pytest.ExceptionInfo, *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


# -- the recipe of the paper ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def resvnet() -> recipe.Method:
    return recipe.load_method("resvnet", {})


def test_resvnet_sees_what_the_paper_says(resvnet):
    whole, tumour = resvnet.stages["whole"], resvnet.stages["tumour"]
    assert list(resvnet.stages) == ["whole", "tumour"]
    assert whole.geometry.size == (128, 160, 160)
    assert whole.geometry.body.threshold_hu == -200
    assert whole.regions is None
    assert tumour.geometry.size == (48, 96, 96)  # two of them stacked: 96 x 96 x 96
    assert tumour.geometry.body is None
    for stage in (whole, tumour):
        level, width = 30, 310
        assert stage.intensity.window == (level - width / 2, level + width / 2)
        assert stage.intensity.standardize
        assert stage.intensity.rescale == (-1, 1)
        assert stage.geometry.interpolation == "linear"


def test_resvnet_learns_as_the_paper_says(resvnet):
    whole = resvnet.stages["whole"].training
    tumour = resvnet.stages["tumour"].training
    assert (whole.target, tumour.target) == ("whole", "tumour")
    assert (whole.batch_size, tumour.batch_size) == (2, 4)
    assert (whole.schedule.factor, whole.schedule.epochs) == (0.90, 10)
    assert (tumour.schedule.factor, tumour.schedule.epochs) == (0.94, 5)
    assert not whole.sampler.shuffle_regions
    assert tumour.sampler.shuffle_regions
    # Outside of the first stage's volume is air, outside of a masked region 0.
    for training, fill in ((whole, -1), (tumour, 0)):
        assert training.network.name == "res_vnet_cascade"
        assert training.network.width == 16
        assert training.network.dropout == 0.3
        assert training.network.normalization == "none"
        assert training.loss == recipe.DiceLoss(name="dice", squared=True)
        assert training.optimizer == recipe.Adam(name="adam", learning_rate=1e-3)
        assert training.epochs == 500
        assert training.augmentation == (
            recipe.Rotation(name="rotation", degrees=90, fill=fill),
            recipe.Flip(name="flip", probability=0.5),
        )


def test_resvnet_cleans_and_merges_as_the_paper_says(resvnet):
    regions = resvnet.stages["tumour"].regions
    assert resvnet.stages["whole"].components == recipe.Components(minimum_voxels=100)
    assert regions == recipe.Regions(
        stage="whole", count=2, repeat=True, margin_voxels=0, mask=True
    )
    assert resvnet.merge == recipe.TumourWithinWhole(
        name="tumour_within_whole", whole="whole", tumour="tumour"
    )
    assert resvnet.published is None


def test_every_recipe_of_the_repository_loads():
    for path in recipe.METHODS.glob("*.yaml"):
        assert recipe.load_method(path.stem, {}).stages


# -- faults in a recipe ---------------------------------------------------------------------------

FAULTS = {
    "colour": ("green", "unknown key"),
    "stages.whole.training.optimiser": ("adam", "unknown key"),
    "stages.whole.training.epochs": ("many", "valid integer"),
    "stages.whole.training.batch_size": (0, "greater than 0"),
    "stages.whole.training.loss.squared": ("perhaps", "valid boolean"),
    "stages.whole.training.optimizer.learning_rate": (-1e-3, "greater than 0"),
    "stages.whole.training.network.width": (15, "multiple of 2"),
    "stages.whole.training.network.name": ("unknown_net", "res_vnet_cascade"),
    "stages.whole.training.target": ("kidney", "'whole' or 'tumour'"),
    "stages.whole.geometry.size": ([128, 160], "Field required"),
    "stages.whole.intensity.window": ([185, -125], "window must be [low, high] with low < high"),
    "stages.whole.training.augmentation": ([{"name": "twist"}], "'rotation', 'flip'"),
    "stages.whole": (None, "valid dictionary"),
    "published": ({"where": "Table 1"}, "Field required"),
}


def named(key: str, expected: str) -> str:
    """How a message names `key`: a check of a whole section tells the section, then the rest."""
    section, _, last = key.rpartition(".")
    return f"{section}: {last}" if expected.startswith(last) else key


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


def test_a_rotation_needs_to_know_what_is_outside():
    turn = [{"name": "rotation", "degrees": 90}]
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.whole.training.augmentation", turn))
    assert_one_line(error, "stages.whole.training.augmentation.0.rotation.fill: Field required")


@pytest.mark.parametrize("name", recipe.RESERVED)
def test_stages_and_methods_leave_the_names_of_other_results_alone(tmp_path, name):
    values = recipe_values()
    values["stages"] = {
        name if key == "tumour" else key: values["stages"][key] for key in values["stages"]
    }
    values["merge"]["tumour"] = name
    write_recipe(tmp_path, "mine", values)
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, "mine.yaml: ", f"stages.{name}: results of another kind have this name")
    with pytest.raises(InputError) as error:
        recipe.check_configuration(with_value(configuration_values(), "methods", ["resvnet", name]))
    assert_one_line(error, f"config.yaml: methods: {name}: results of another kind have this name")


def test_every_folder_beside_those_of_methods_and_stages_is_reserved():
    """Folders that the rules write by a fixed name, in the results and in a method's folder."""
    rules = "".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    folders = re.findall(r'RESULTS / "(?:\{method\}/)?([a-z_]+)(?=["/])', rules)
    folders += re.findall(r'RESULTS / (?:w\.|wildcards\.)?method / "([a-z_]+)"', rules)
    assert {"resampled", "tables", "segmentation", "pictures"} <= set(folders)
    assert set(folders) <= set(recipe.RESERVED)


def test_a_fault_of_the_recipe_is_not_laid_on_its_overrides(tmp_path):
    write_recipe(tmp_path, "mine", with_value(recipe_values(), "colour", "green"))
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {"title": "Mine"}, tmp_path)
    assert_one_line(error, "workflow/methods/mine.yaml: colour: unknown key")


def test_a_missing_key_is_named(tmp_path):
    values = recipe_values()
    del values["stages"]["tumour"]["training"]["epochs"]
    write_recipe(tmp_path, "mine", values)
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, "stages.tumour.training.epochs: Field required")


@pytest.mark.parametrize("size", [[130, 160, 160], [128, 160, 168]])
def test_a_size_that_the_network_cannot_halve_is_refused(size):
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.whole.geometry.size", size))
    assert_one_line(error, "stages.whole", str(size), "multiples of 16")


def test_the_size_of_stacked_regions_counts():
    # Two regions of 24 slices make 48, which is a multiple of 16; of 20 slices they make 40.
    recipe.load_method("resvnet", nested("stages.tumour.geometry.size", [24, 96, 96]))
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.tumour.geometry.size", [20, 96, 96]))
    assert_one_line(error, "stages.tumour", "[40, 96, 96]", "multiples of 16")


def test_several_regions_must_be_repeated_to_make_stacks_of_one_size():
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.tumour.regions.repeat", False))
    assert_one_line(error, "stages.tumour", "regions.repeat must be true")
    single = {"regions": {"repeat": False, "count": 1}}
    recipe.load_method("resvnet", {"stages": {"tumour": single}})


def test_instance_normalization_of_a_single_voxel_is_refused():
    stage = {
        "geometry": {"size": [16, 16, 16]},
        "training": {"network": {"normalization": "instance"}},
    }
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", {"stages": {"whole": stage}})
    assert_one_line(error, "stages.whole", "instance normalisation")


def test_bfloat16_on_the_cpu_is_refused_on_shallow_grids():
    values = recipe.merged(configuration_values(), {"compute": {"bfloat16_on_cpu": True}})
    configuration = recipe.check_configuration(values)
    recipe.check_precision(configuration, {"resvnet": recipe.load_method("resvnet", {})})
    shallow = recipe.load_method("resvnet", nested("stages.whole.geometry.size", [32, 64, 64]))
    with pytest.raises(InputError) as error:
        recipe.check_precision(configuration, {"resvnet": shallow})
    assert_one_line(error, "bfloat16_on_cpu", "stage whole of resvnet", "32 slices")


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize(
    "key",
    ["stages.whole.training.optimizer.learning_rate", "stages.whole.geometry.body.opening_mm"],
)
def test_numbers_that_json_cannot_carry_to_a_step_are_refused(key, value):
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested(key, value))
    assert_one_line(error, "config.yaml: overrides.resvnet", key)


def test_regions_of_an_unknown_stage():
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.tumour.regions.stage", "kidneys"))
    assert_one_line(error, "stages.tumour.regions.stage", "'kidneys'", "not an earlier stage")


def test_regions_of_the_stage_itself_or_a_later_one(tmp_path):
    values = recipe_values()
    values["stages"] = dict(reversed(values["stages"].items()))
    write_recipe(tmp_path, "mine", values)
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, "stages.tumour.regions.stage", "not an earlier stage (none)")
    with pytest.raises(InputError):
        recipe.load_method("resvnet", nested("stages.tumour.regions.stage", "tumour"))


def test_regions_and_a_body_exclude_each_other():
    body = {"threshold_hu": -200, "opening_mm": 5}
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.tumour.geometry.body", body))
    assert_one_line(error, "stages.tumour", "geometry.body")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("merge.whole", "nowhere", "merge.whole is not a stage"),
        ("merge.tumour", "nowhere", "merge.tumour is not a stage"),
        ("merge.whole", "tumour", "merge.whole must be a stage on whole volumes"),
    ],
)
def test_merge_names_stages_that_there_are(key, value, expected):
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested(key, value))
    assert_one_line(error, "config.yaml: overrides.resvnet: ", expected)


# -- extends --------------------------------------------------------------------------------------


def test_extends_puts_changes_on_top_key_by_key(tmp_path):
    write_recipe(tmp_path, "base", recipe_values())
    changes = nested("stages.whole.training.epochs", 7)
    write_recipe(tmp_path, "child", {"extends": "base", "title": "Child"} | changes)
    grandchild = {"extends": "child"} | nested("stages.whole.training.batch_size", 3)
    write_recipe(tmp_path, "grandchild", grandchild)
    method = recipe.load_method("grandchild", nested("stages.tumour.training.epochs", 9), tmp_path)
    base = recipe.load_method("base", {}, tmp_path)
    assert method.title == "Child"
    assert method.stages["whole"].training.epochs == 7
    assert method.stages["whole"].training.batch_size == 3
    assert method.stages["tumour"].training.epochs == 9
    assert method.stages["whole"].geometry == base.stages["whole"].geometry


@pytest.mark.parametrize("circle", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_circular_extends(tmp_path, circle):
    for name, base in zip(circle, [*circle[1:], circle[0]], strict=True):
        write_recipe(tmp_path, name, {"extends": base})
    with pytest.raises(InputError) as error:
        recipe.load_method("a", {}, tmp_path)
    assert_one_line(error, "a.yaml", "extends", " -> ".join([*circle, "a"]))


def test_extending_a_missing_recipe_names_the_recipe_that_asks(tmp_path):
    write_recipe(tmp_path, "base", recipe_values())
    write_recipe(tmp_path, "child", {"extends": "bass"})
    with pytest.raises(InputError) as error:
        recipe.load_method("child", {}, tmp_path)
    assert_one_line(error, "child.yaml: extends: ", "'bass'", "base")
    assert "config.yaml" not in str(error.value)


def test_missing_recipe(tmp_path):
    write_recipe(tmp_path, "one", recipe_values())
    write_recipe(tmp_path, "two", recipe_values())
    with pytest.raises(InputError) as error:
        recipe.load_method("three", {}, tmp_path)
    assert_one_line(error, "config.yaml: methods: ", "'three'", "one, two")


@pytest.mark.parametrize("content", [b"stages: [1, 2", b"title: \xff\xfe", b"a: b: c", b"\x07"])
def test_invalid_yaml(tmp_path, content):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, "mine.yaml: not valid YAML")


@pytest.mark.parametrize("content", ["", "- one\n- two\n", "resvnet"])
def test_yaml_that_is_no_mapping(tmp_path, content):
    (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, "mine.yaml: a mapping of keys is expected")


def test_merged_changes_neither_of_its_arguments():
    base, changes = {"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}, "d": 4}
    assert recipe.merged(base, changes) == {"a": {"b": 1, "c": [3]}, "d": 4}
    assert base == {"a": {"b": 1, "c": [1, 2]}}
    assert changes == {"a": {"c": [3]}, "d": 4}


# -- configuration --------------------------------------------------------------------------------


def test_config_yaml_is_valid():
    configuration = recipe.check_configuration(configuration_values())
    assert configuration.folds.count == 5
    for name in configuration.methods:
        recipe.load_method(name, configuration.overrides.get(name, {}))


def test_demo_yaml_is_valid_on_top_of_config_yaml():
    values = recipe.merged(configuration_values(), configuration_values("demo.yaml"))
    configuration = recipe.check_configuration(values)
    assert configuration.overrides
    # What somebody sets in config.yaml for the real data does not reach the demonstration.
    assert {"data", "results", "methods", "folds", "batch_size", "compute"} <= set(
        configuration_values("demo.yaml")
    )
    for name in configuration.methods:
        method = recipe.load_method(name, configuration.overrides.get(name, {}))
        paper = recipe.load_method(name, {})
        assert method != paper
        # The demonstration takes the same way as the paper, with less of everything.
        assert list(method.stages) == list(paper.stages)
        assert method.merge == paper.merge


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("colour", "green", "colour: unknown key"),
        ("data.folder", "x", "data.folder: unknown key"),
        ("folds.count", 1, "folds.count: "),
        ("folds.count", "five", "folds.count: "),
        ("methods", [], "methods: "),
        ("methods", ["Res VNet"], "methods.0: "),
        ("data.exclude", "case_00015", "data.exclude: "),
        ("compute.train_threads", 0, "compute.train_threads: "),
        ("compute.seed", 2**40, "compute.seed: "),
        ("compute.seed", -1, "compute.seed: "),
        ("overrides", {"other": {}}, "overrides.other: no such method"),
    ],
)
def test_faults_of_the_configuration_are_told_with_their_key(key, value, expected):
    with pytest.raises(InputError) as error:
        recipe.check_configuration(with_value(configuration_values(), key, value))
    assert_one_line(error, "config.yaml: ", expected)


def test_several_faults_are_told_at_once():
    values = with_value(configuration_values(), "batch_size", 0)
    with pytest.raises(InputError) as error:
        recipe.check_configuration(with_value(values, "folds.seed", "x"))
    assert_one_line(error, "batch_size: ", "folds.seed: ")


# -- what a step receives -------------------------------------------------------------------------


def test_settings_hash_is_stable_and_differs_with_every_value(resvnet):
    geometry = resvnet.stages["whole"].geometry
    again = recipe.load_method("resvnet", {}).stages["whole"].geometry
    other = recipe.load_method("resvnet", nested("stages.whole.geometry.body.opening_mm", 6))
    assert recipe.settings_hash(geometry) == recipe.settings_hash(again)
    assert recipe.settings_hash(geometry) != recipe.settings_hash(other.stages["whole"].geometry)
    assert recipe.settings_hash(geometry, None) != recipe.settings_hash(geometry)
    assert len(recipe.settings_hash(geometry)) == 8
    int(recipe.settings_hash(geometry), 16)


def test_settings_hash_does_not_change_from_one_version_to_the_next():
    # Folders of results are named by it: another rule would compute everything anew.
    class Example(recipe.Strict):
        size: recipe.Size
        label: str | None = None

    class Grown(Example):
        colour: str = "green"

    # printf '[{"size": [1, 2, 3]}, null]' | sha256sum
    assert recipe.settings_hash(Example(size=(1, 2, 3)), None) == "4ab02ad2"
    assert recipe.settings_hash(Grown(size=(1, 2, 3)), None) == "4ab02ad2"


def test_component_of_another_name_replaces_the_one_beneath():
    below = {"network": {"name": "one", "width": 4}, "epochs": 3}
    assert recipe.merged(below, {"network": {"name": "two"}}) == {
        "network": {"name": "two"},
        "epochs": 3,
    }
    assert recipe.merged(below, {"network": {"width": 8}})["network"] == {"name": "one", "width": 8}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.learning_rate", 5e-4),
        ("epochs", 3),
        ("batch_size", 1),
        ("schedule.factor", 0.5),
        ("augmentation", []),
        ("loss.squared", False),
    ],
)
def test_prediction_merging_and_row_leave_out_how_a_stage_learns(resvnet, key, value):
    other = recipe.load_method("resvnet", nested(f"stages.whole.training.{key}", value))
    assert other != resvnet
    one, two = resvnet.stages["whole"], other.stages["whole"]
    assert recipe.prediction(one.training) == recipe.prediction(two.training)
    assert recipe.merging(resvnet) == recipe.merging(other)
    assert recipe.row(resvnet) == recipe.row(other)
    assert recipe.region_crop(resvnet, "tumour") == recipe.region_crop(other, "tumour")


def test_parts_hold_what_their_steps_need(resvnet):
    training = resvnet.stages["tumour"].training
    assert recipe.prediction(training).network == training.network
    merging = recipe.merging(resvnet)
    assert {name: stage.target for name, stage in merging.stages.items()} == {
        "whole": "whole",
        "tumour": "tumour",
    }
    assert merging.stages["whole"].components.minimum_voxels == 100
    crop = recipe.region_crop(resvnet, "tumour")
    assert crop.geometry == resvnet.stages["tumour"].geometry
    assert crop.components == resvnet.stages["whole"].components
    assert recipe.row(resvnet).title == resvnet.title
    renamed = recipe.load_method("resvnet", {"title": "Other"})
    assert recipe.merging(renamed) == merging
    assert recipe.row(renamed) != recipe.row(resvnet)


def test_parts_survive_the_way_to_a_step_as_json(resvnet):
    for stage in resvnet.stages.values():
        for part in (stage.training, stage.geometry, stage.intensity, recipe.merging(resvnet)):
            assert type(part).model_validate_json(part.model_dump_json()) == part
