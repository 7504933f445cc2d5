"""Tests of recipes and configuration: the paper's values, and one-line errors for every fault."""

import copy
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from renal import recipe
from renal.errors import InputError
from renal.image.settings import Components, Regions
from renal.learn.augmentations.settings import Flip, Rotation
from renal.learn.inferers.settings import WindowInference
from renal.learn.losses.settings import DecayingSupervision, DiceLoss, TverskyLoss
from renal.learn.optimizers.settings import Adam
from renal.learn.samplers.settings import WindowSampler
from renal.learn.settings import Prediction
from renal.prepare.intensity import normalize
from renal.settings import Size, Strict, as_values, settings_hash

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
        assert training.loss == DiceLoss(name="dice", squared=True)
        assert training.optimizer == Adam(name="adam", learning_rate=1e-3)
        assert training.epochs == 500
        assert training.augmentation == (
            Rotation(name="rotation", degrees=90, fill=fill),
            Flip(name="flip", probability=0.5),
        )


def test_resvnet_cleans_and_merges_as_the_paper_says(resvnet):
    regions = resvnet.stages["tumour"].regions
    assert resvnet.stages["whole"].components == Components(minimum_voxels=100)
    assert regions == Regions(stage="whole", count=2, repeat=True, margin_voxels=0, mask=True)
    assert resvnet.merge == recipe.TumourWithinWhole(
        name="tumour_within_whole", whole="whole", tumour="tumour"
    )
    assert resvnet.published is None


def recipes_of(*names: str) -> dict[str, recipe.Method]:
    values = {**configuration_values(), "methods": list(names), "overrides": {}}
    return recipe.load_methods(recipe.check_configuration(values))


@pytest.fixture(scope="module")
def everything() -> dict[str, recipe.Method]:
    """All recipes of the repository."""
    return recipes_of(*sorted(path.stem for path in recipe.METHODS.glob("*.yaml")))


def test_every_recipe_of_the_repository_trains_or_takes_stages(everything):
    assert {"resvnet", "mrbnet", "damnet", "tunet", "msvnet"} <= set(everything)
    for name, method in everything.items():
        assert method.stages or method.members
        merging = recipe.merging(everything, name)
        assert recipe.stage_of(everything, name, merging.grid).regions is None
        assert merging.family == method.family


def demonstrated(demo: str) -> dict[str, recipe.Method]:
    """The recipes of a demonstration, as it changes them."""
    values = recipe.merged(configuration_values(), configuration_values(demo))
    return recipe.load_methods(recipe.check_configuration(values))


DEMOS = ("demo.yaml", "demos/tunet.yaml", "demos/localized.yaml", "demos/msvnet.yaml")


def test_what_augmentation_fills_in_is_what_the_mask_leaves_outside(everything):
    scan = np.array([[[-1000, 0, 1000]]], np.int16)  # air, water and bone
    filled = {}
    demos = [method for demo in DEMOS for method in demonstrated(demo).values()]
    for method in (*everything.values(), *demos):
        for stage in method.stages.values():
            if stage.regions is None or not stage.regions.mask:
                continue
            outside = 0.0
            if stage.regions.masked_hu is not None:
                value = np.full((1, 1, 1), stage.regions.masked_hu, np.int16)
                outside = normalize(value, stage.intensity, reference=scan).item()
            fills = [getattr(step, "fill", outside) for step in stage.training.augmentation]
            assert fills == [pytest.approx(outside, abs=1e-3)] * len(fills)
            filled[method.family] = outside
    assert filled == {"resvnet": 0, "msvnet": pytest.approx(-0.225, abs=1e-3)}


def test_msvnet_masks_the_scan_in_full_slices_with_kidney(everything):
    regions = everything["msvnet"].stages["tumour"].regions
    assert (regions.mask, regions.masked_hu, regions.axes) == (True, 0, ("z",))
    steps = {
        step.name: step for step in everything["msvnet"].stages["tumour"].training.augmentation
    }
    for name in ("rotation", "translation", "equalize"):
        assert steps[name].fill == -0.225


def test_mrbnet_looks_for_the_box_within_the_range_of_slices(everything):
    stages = everything["mrbnet"].stages
    assert stages["locate"].regions.axes == ("z", "y", "x")
    assert stages["segment"].regions.axes == ("y", "x")
    assert stages["segment"].regions.margin_mm[0] == 0


# What the papers say of each method, by the recipe's keys.
PAPERS = {
    "mrbnet": {
        "zrange.training.network.name": "resnet34_slices",
        "zrange.training.target": "slices",
        "locate.training.network.dimensions": 2,
        "locate.training.target": "whole",
        "segment.geometry.spacing": (1, 1, 1),
        "segment.training.network.name": "mrb_unet",
        "segment.training.sampler.size": (80, 128, 128),
        "segment.training.loss.name": "dice_cross_entropy",
        "segment.training.loss.activation": "sigmoid",
        "segment.inference.size": (80, 128, 128),
        **{
            f"{stage}.{key}": value
            for stage in ("zrange", "locate", "segment")
            for key, value in {
                "intensity.window": (-100, 350),
                "training.optimizer.name": "sgd",
                "training.optimizer.learning_rate": 0.01,
                "training.schedule.name": "plateau",
                "training.schedule.factor": 0.1,
                "training.schedule.patience": 3,
                "training.stopping.patience": 30,
                "training.stopping.minimum_rate": 1e-6,
                "training.augmentation.0.degrees": 30,
                "training.augmentation.1.name": "flip",
            }.items()
        },
    },
    "damnet": {
        "coarse.geometry.size": (None, 256, 256),
        "coarse.training.network.dimensions": 3,
        "coarse.training.loss": TverskyLoss(
            name="tversky", false_negatives=0.7, false_positives=0.3
        ),
        "coarse.components.minimum_voxels": 4001,
        "coarse.components.keep": 2,
        "fine.geometry.size": None,
        "fine.geometry.spacing": None,
        "fine.regions.count": 2,
        "fine.training.network.backbone": "resnet34",
        "fine.training.network.paths": ("two_d", "three_d", "adapted"),
        "fine.training.network.pretrained.sha256": "b627a593",
        **{
            f"{stage}.{key}": value
            for stage in ("coarse", "fine")
            for key, value in {
                "intensity.window": (-100, 300),
                "intensity.rescale": (-1, 1),
                "training.optimizer.name": "adam",
                "training.optimizer.learning_rate": 1e-3,
                "training.stopping.patience": 5,
                "training.validation.share": 21 / 168,
                "training.validation.keep": "best",
                "training.epochs": 100,
                "training.augmentation": (),
            }.items()
        },
    },
    "msvnet": {
        "kidney.geometry.spacing": (2, None, None),
        "kidney.geometry.size": (None, 256, 256),
        "kidney.training.sampler": WindowSampler(
            name="windows", length=64, around="kidney", extend=50
        ),
        "kidney.training.network.supervised": True,
        "kidney.training.loss.name": "dice",
        "kidney.training.supervision": DecayingSupervision(weight=0.33, factor=0.8, epochs=15),
        "kidney.training.epochs": 500,
        "kidney.training.augmentation.0.axes": ("y", "x"),
        "kidney.inference": WindowInference(name="windows", length=64, step=32, keep=(16, 48)),
        "tumour.geometry.spacing": (1, None, None),
        "tumour.geometry.size": (None, 512, 512),
        "tumour.training.sampler.only": "kidney",
        "tumour.training.drawing.name": "hard",
        "tumour.training.network.multi_scale": True,
        "tumour.training.network.attention": True,
        "tumour.training.network.dilations": (2, 3, 5),
        "tumour.training.loss.name": "focal_dice",
        "tumour.components.keep": 1,
    },
}


def value_of(section: object, key: str) -> object:
    for part in key.split("."):
        section = section[int(part)] if part.isdigit() else getattr(section, part)
    return section


@pytest.mark.parametrize("name", PAPERS)
def test_a_recipe_says_what_its_paper_says(everything, name):
    stages = everything[name].stages
    assert list(stages) == list(dict.fromkeys(key.partition(".")[0] for key in PAPERS[name]))
    found = {}
    for path in PAPERS[name]:
        stage, _, key = path.partition(".")
        found[path] = value_of(stages[stage], key)
    assert found == PAPERS[name]


def test_damnets_published_scores_are_the_papers(everything):
    published = everything["damnet"].published
    assert (published.kidney[0], published.tumour[0]) == (0.9655, 0.7520)
    assert published.composite[0] == 0.8587


def test_a_stage_predicts_in_patches_of_the_size_it_learned_from(everything):
    for name, stage in (("mrbnet", "segment"), ("damnet", "fine"), ("tunet", "segment")):
        settings = everything[name].stages[stage]
        assert settings.inference.size == settings.training.sampler.size


def test_tunets_dice_is_smoothed_below_alone(everything):
    rows = [method for method in everything.values() if method.family == "tunet"]
    losses = [stage.training.loss for method in rows for stage in method.stages.values()]
    smoothed = [loss.smooth for loss in losses if loss.name == "dice"]
    assert len(smoothed) >= 2 and set(smoothed) == {(0, 1e-5)}


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
    "stages.whole.training.target": ("kidney", "'whole', 'tumour', 'classes' or 'slices'"),
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
    "merge.name": ("union", "'tumour_within_whole', 'hysteresis'"),
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


@pytest.mark.parametrize("value", [[], ["kidney"], ["whole", "classes"]])
def test_a_list_of_maps_holds_whole_and_tumour_alone(value):
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested("stages.whole.training.target", value))
    assert_one_line(error, "stages.whole.training.target")


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


@pytest.mark.parametrize(
    ("stage", "size"), [("whole", [1 << 14] * 3), ("tumour", [1 << 20, 1 << 10, 1 << 10])]
)
def test_a_grid_of_more_voxels_than_any_volume_is_refused(stage, size):
    configuration = recipe.check_configuration(configuration_values())
    recipe.check_sizes(configuration, recipe.load_methods(configuration))
    huge = recipe.load_method("resvnet", nested(f"stages.{stage}.geometry.size", size))
    with pytest.raises(InputError) as error:
        recipe.check_sizes(configuration, {"resvnet": huge})
    assert_one_line(error, f"stage {stage} of resvnet", "data.maximum_voxels")


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
    assert_one_line(error, "stages.tumour", "geometry: body and extent_mm are for whole volumes")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("merge.whole", "nowhere", "merge.whole is not a stage"),
        ("merge.tumour", "nowhere", "merge.tumour is not a stage"),
        ("merge.whole", "nowhere.whole", "merge.whole is not a stage"),
        ("merge.whole", "whole.kidney", "merge.whole: String should match pattern"),
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


@pytest.mark.parametrize("demo", DEMOS)
def test_demos_are_the_papers_methods_with_less_of_everything(demo, everything):
    # What somebody sets in config.yaml for the real data does not reach the demonstration.
    assert {"data", "results", "methods", "folds", "batch_size", "compute"} <= set(
        configuration_values(demo)
    )
    for name, method in demonstrated(demo).items():
        paper = everything[name]
        assert method != paper or not paper.stages
        # The demonstration takes the same way as the paper.
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
        ("overrides", {"other": 3}, "overrides.other: "),
        ("compute.train_threads", True, "compute.train_threads: a number is expected (is True)"),
        ("methods", ["resvnet", "tunet", "resvnet"], "methods: resvnet is named twice"),
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
    assert settings_hash(geometry) == settings_hash(again)
    assert settings_hash(geometry) != settings_hash(other.stages["whole"].geometry)
    assert settings_hash(geometry, None) != settings_hash(geometry)
    assert len(settings_hash(geometry)) == 8
    int(settings_hash(geometry), 16)


def test_settings_hash_does_not_change_from_one_version_to_the_next():
    # Folders of results are named by it: another rule would compute everything anew.
    class Example(Strict):
        size: Size
        label: str | None = None

    class Grown(Example):
        colour: str = "green"

    # printf '[{"size": [1, 2, 3]}, null]' | sha256sum
    assert settings_hash(Example(size=(1, 2, 3)), None) == "4ab02ad2"
    assert settings_hash(Grown(size=(1, 2, 3)), None) == "4ab02ad2"


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
        ("drawing", {"name": "balanced", "positive_share": 0.5}),
        ("sampler", {"name": "windows", "length": 64}),
        ("stopping", {"patience": 3}),
        ("supervision", {"weight": 0.5, "factor": 0.5, "epochs": 2}),
    ],
)
def test_prediction_merging_and_row_leave_out_how_a_stage_learns(resvnet, key, value):
    other = recipe.load_method("resvnet", nested(f"stages.whole.training.{key}", value))
    assert other != resvnet
    one, two = resvnet.stages["whole"], other.stages["whole"]
    assert recipe.prediction(one) == recipe.prediction(two)
    recipes, others = {"resvnet": resvnet}, {"resvnet": other}
    for part in (recipe.merging, recipe.row):
        assert part(recipes, "resvnet") == part(others, "resvnet")
    for part in (recipe.region_crop, recipe.true_region_crop):
        assert part(recipes, "resvnet", "tumour") == part(others, "resvnet", "tumour")


def test_parts_hold_what_their_steps_need(resvnet):
    recipes = {"resvnet": resvnet}
    stage = resvnet.stages["tumour"]
    assert recipe.prediction(stage) == Prediction(
        network=stage.training.network, target="tumour", channels_in=1, inference=stage.inference
    )
    merging = recipe.merging(recipes, "resvnet")
    assert {name: stage.target for name, stage in merging.stages.items()} == {
        "whole": "whole",
        "tumour": "tumour",
    }
    assert (merging.grid, merging.located) == ("whole", None)
    assert merging.stages["whole"].components.minimum_voxels == 100
    crop = recipe.region_crop(recipes, "resvnet", "tumour")
    assert crop.geometry == resvnet.stages["tumour"].geometry
    assert crop.components == resvnet.stages["whole"].components
    assert recipe.row(recipes, "resvnet").title == resvnet.title
    renamed = {"resvnet": recipe.load_method("resvnet", {"title": "Other"})}
    assert recipe.merging(renamed, "resvnet") == merging
    assert recipe.row(renamed, "resvnet") != recipe.row(recipes, "resvnet")


@pytest.mark.parametrize(
    ("method", "stages", "grid", "located"),
    [
        ("mrbnet", {"segment": 1}, "zrange", "segment"),
        ("damnet", {"fine": 1}, "coarse", "fine"),
        ("tunet", {"segment": 1}, "segment", None),
        ("tunet_ensemble", {"segment": 4}, "segment", None),
        ("tunet_ensemble_post", {"segment": 4, "localize": 1}, "segment", None),
        ("msvnet", {"kidney": 1, "tumour": 1}, "kidney", None),
        ("msvnet_vnet", {"kidney": 1, "tumour": 1}, "kidney", None),
        ("msvnet_all_components", {"kidney": 1, "tumour": 1}, "kidney", None),
    ],
)
def test_what_merging_needs_to_know_of_each_method(everything, method, stages, grid, located):
    merging = recipe.merging(everything, method)
    assert {name: stage.members for name, stage in merging.stages.items()} == stages
    assert (merging.grid, merging.located) == (grid, located)


def test_validated_rows_are_those_with_a_split_in_any_stage(everything):
    validated = {name for name in everything if recipe.row(everything, name).validated}
    assert validated == set(everything) - {"resvnet"}


def test_a_slice_network_predicts_with_the_neighbours_it_was_trained_with(everything):
    prediction = recipe.prediction(everything["msvnet"].stages["tumour"])
    assert prediction.channels_in == 5
    assert recipe.prediction(everything["msvnet"].stages["kidney"]).channels_in == 1


def test_jitter_is_for_true_regions_and_slices_are_told(everything):
    predicted = recipe.region_crop(everything, "mrbnet", "locate")
    true = recipe.true_region_crop(everything, "mrbnet", "locate")
    assert predicted.of_slices and true.of_slices
    assert predicted.regions.jitter_mm == (0, 0, 0)
    assert true.regions.jitter_mm == (10, 0, 0)
    assert predicted.regions.margin_mm == true.regions.margin_mm == (20, 0, 0)
    assert predicted.components == everything["mrbnet"].stages["zrange"].components
    same = {"geometry", "intensity", "components", "of_slices", "outer"}
    assert predicted.model_dump(include=same) == true.model_dump(include=same)
    assert not recipe.region_crop(everything, "mrbnet", "segment").of_slices
    # What is not cut along z reaches as far as the stage looked that is asked for the region.
    segment = recipe.region_crop(everything, "mrbnet", "segment")
    assert segment.outer == everything["mrbnet"].stages["locate"].regions
    for method, stage in (("mrbnet", "locate"), ("damnet", "fine"), ("msvnet", "tumour")):
        assert recipe.region_crop(everything, method, stage).outer is None
    # Without jitter both are one, and share their name and their files' settings.
    assert recipe.region_crop(everything, "resvnet", "tumour") == recipe.true_region_crop(
        everything, "resvnet", "tumour"
    )


def test_parts_survive_the_way_to_a_step_as_json(everything):
    for name, method in everything.items():
        parts = [recipe.merging(everything, name), recipe.row(everything, name)]
        for stage_name, stage in method.stages.items():
            parts += [stage.training, stage.geometry, stage.intensity, recipe.prediction(stage)]
            if stage.regions is not None:
                parts.append(recipe.true_region_crop(everything, name, stage_name))
        for part in parts:
            assert type(part).model_validate_json(part.model_dump_json()) == part
            assert type(part).model_validate(as_values(part)) == part


# -- sizes ----------------------------------------------------------------------------------------


def stage_values(**changes: object) -> dict:
    """A stage with a 3D U-Net of three levels, on whole volumes: multiples of four."""
    values = {
        "geometry": {"size": [32, 32, 32]},
        "intensity": {},
        "training": {
            "target": "whole",
            "network": {
                "name": "unet",
                "dimensions": 3,
                "depth": 3,
                "width": 4,
                "normalization": "batch",
            },
            "loss": {"name": "dice", "squared": False},
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0},
            "schedule": {"name": "constant"},
            "epochs": 1,
            "batch_size": 1,
        },
    }
    return recipe.merged(values, changes)


def method_values(**stages: dict) -> dict:
    last = list(stages)[-1]
    merge = {"name": "tumour_within_whole", "whole": last, "tumour": last}
    return {"family": "tiny", "title": "Tiny", "stages": stages, "merge": merge}


def load(folder: Path, values: dict, name: str = "mine") -> recipe.Method:
    write_recipe(folder, name, values)
    return recipe.load_method(name, {}, folder)


def patches(*size: int) -> dict:
    return {"name": "patches", "size": list(size), "per_case": 1}


def sliding(*size: int) -> dict:
    return {
        "name": "sliding_window",
        "size": list(size),
        "overlap": [0, 0, 0],
        "weighting": "uniform",
    }


WINDOWS = {"name": "windows", "length": 16, "step": 8, "keep": [4, 12]}
FLAT = {"dimensions": 2}
SLICES = {"name": "slices", "batch": 4}
BOTH_PATCHES = {"training": {"sampler": patches(16, 16, 16)}, "inference": sliding(16, 16, 16)}

POSSIBLE = {
    "volume": {},
    "patches of a native grid": {"geometry": {"size": None}, **BOTH_PATCHES},
    "patches of a grid of odd size": {"geometry": {"size": [33, 35, 37]}, **BOTH_PATCHES},
    "windows of native slices": {
        "geometry": {"size": [None, 32, 32]},
        "training": {"sampler": {"name": "windows", "length": 16}},
        "inference": WINDOWS,
    },
    "windows in training, the whole in prediction": {
        "training": {"sampler": {"name": "windows", "length": 16}}
    },
    "slices": {
        "geometry": {"size": [None, 32, 36]},
        "training": {"sampler": {"name": "slices", "context": 3}, "network": FLAT},
        "inference": SLICES,
    },
    "slices of 17": {
        "geometry": {"size": [17, 32, 36]},
        "training": {"sampler": {"name": "slices", "context": 1}, "network": FLAT},
        "inference": SLICES,
    },
}

IMPOSSIBLE = {
    "volume": ({"geometry": {"size": [32, 32, 34]}}, "[32, 32, 34]", "multiples of 4 along x"),
    "native volume": ({"geometry": {"size": [None, 32, 32]}}, "must say how long axis z is"),
    "spacing": (
        {"geometry": {"size": [32, 32, None], "spacing": [None, None, 1]}},
        "must say how long axis x is",
    ),
    "patches": (
        {**BOTH_PATCHES, "training": {"sampler": patches(16, 18, 16)}},
        "[16, 18, 16]",
        "multiples of 4 along y",
    ),
    "sliding window": (
        {**BOTH_PATCHES, "inference": sliding(18, 16, 16)},
        "[18, 16, 16]",
        "multiples of 4 along z",
    ),
    "patches learned, volume predicted": (
        {"geometry": {"size": [30, 32, 32]}, "training": BOTH_PATCHES["training"]},
        "[30, 32, 32]",
        "multiples of 4 along z",
    ),
    "windows": (
        {"training": {"sampler": {"name": "windows", "length": 18}}},
        "[18, 32, 32]",
        "multiples of 4 along z",
    ),
    "windows of native plane": (
        {
            "geometry": {"size": [32, None, 32]},
            "training": {"sampler": {"name": "windows", "length": 16}},
            "inference": WINDOWS,
        },
        "must say how long axis y is",
    ),
    "windows predicted": (
        {"inference": {**WINDOWS, "length": 18}},
        "[18, 32, 32]",
        "multiples of 4 along z",
    ),
    "slices": (
        {
            "geometry": {"size": [None, 32, 34]},
            "training": {"sampler": {"name": "slices"}, "network": FLAT},
            "inference": SLICES,
        },
        "[1, 32, 34]",
        "multiples of 4 along x",
    ),
    "slices of native plane": (
        {
            "geometry": {"size": None},
            "training": {"sampler": {"name": "slices"}, "network": FLAT},
            "inference": SLICES,
        },
        "must say how long axis y is",
    ),
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_sizes_that_a_network_can_see(tmp_path, name):
    assert load(tmp_path, method_values(only=stage_values(**POSSIBLE[name]))).stages


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_sizes_that_a_network_cannot_see_are_told_with_their_axis(tmp_path, name):
    changes, *expected = IMPOSSIBLE[name]
    with pytest.raises(InputError) as error:
        load(tmp_path, method_values(only=stage_values(**changes)))
    assert_one_line(error, "workflow/methods/mine.yaml: stages.only: ", *expected)


UNFIT = {
    "a network for slices on volumes": (
        {"training": {"network": FLAT}},
        "training: sampler volume: unet learns from slices",
    ),
    "a network for volumes on slices": (
        {"training": {"sampler": {"name": "slices"}}, "inference": SLICES},
        "training: sampler slices: unet learns from volumes",
    ),
    "slices predicted by a network for volumes": (
        {"inference": SLICES},
        "inference slices is not for unet",
    ),
    "volumes predicted by a network for slices": (
        {"training": {"network": FLAT, "sampler": {"name": "slices"}}},
        "inference whole is not for unet",
    ),
    "classes without softmax": (
        {"training": {"target": "classes"}},
        "training: target classes goes with a loss whose activation is softmax",
    ),
    "softmax without classes": (
        {
            "training": {
                "loss": {"name": "dice_cross_entropy", "squared": False, "activation": "softmax"}
            }
        },
        "training: target classes goes with a loss whose activation is softmax",
    ),
    "one channel of a network of two": (
        {
            "training": {
                "network": {"name": "tunet", "width": 4, "depth": 3, "groups": 2, "pyramid": True}
            }
        },
        "training: target 'whole' is 1 channels, but tunet gives 2",
    ),
    "slices told by a network that segments": (
        {
            "training": {"target": "slices", "network": FLAT, "sampler": {"name": "slices"}},
            "inference": SLICES,
        },
        "training: target slices goes with network resnet34_slices",
    ),
    "voxels told by a network that tells slices": (
        {
            "training": {"network": {"name": "resnet34_slices"}, "sampler": {"name": "slices"}},
            "inference": SLICES,
        },
        "training: target slices goes with network resnet34_slices",
    ),
    "slices smoothed of what is no slice": (
        {"components": {"smooth_slices": 3}},
        "components.smooth_slices is for a stage whose target is slices",
    ),
    "size and spacing of one axis": (
        {"geometry": {"spacing": [None, 1, None]}},
        "geometry: size and spacing are given for the same axis",
    ),
    "an extent without a size": (
        {"geometry": {"size": [32, 32, None], "extent_mm": [9, 9, 9]}},
        "geometry: extent_mm needs a size for every axis, and no body",
    ),
    "an extent and a body": (
        {
            "geometry": {
                "extent_mm": [9, 9, 9],
                "body": {"threshold_hu": -200, "opening_mm": 5},
            }
        },
        "geometry: extent_mm needs a size for every axis, and no body",
    ),
    "an even median": ({"intensity": {"median": 4}}, "intensity: median must be odd"),
    "an even context": (
        {
            "training": {"network": FLAT, "sampler": {"name": "slices", "context": 2}},
            "inference": SLICES,
        },
        "training.sampler: context must be odd",
    ),
    "patches at random and on a lattice": (
        {"training": {"sampler": {**patches(16, 16, 16), "stride": [8, 8, 8]}}},
        "training.sampler: one of stride and per_case must be given",
    ),
    "patches of no kind": (
        {"training": {"sampler": {"name": "patches", "size": [16, 16, 16]}}},
        "training.sampler: one of stride and per_case must be given",
    ),
    "windows that leave slices out": (
        {"inference": {**WINDOWS, "keep": [4, 11]}},
        "inference: keep must be `step` slices within `length`",
    ),
    "patches that overlap in full": (
        {"inference": {**sliding(16, 16, 16), "overlap": [0, 16, 0]}},
        "inference: overlap must be smaller than size",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_parts_that_do_not_go_together_are_told(tmp_path, name):
    changes, expected = UNFIT[name]
    with pytest.raises(InputError) as error:
        load(tmp_path, method_values(only=stage_values(**changes)))
    assert_one_line(error, "workflow/methods/mine.yaml: stages.only", expected)


def test_regions_are_stacked_in_training_and_in_prediction_or_in_neither(tmp_path):
    regions = {"stage": "first", "count": 2, "repeat": True}
    for sampler, inference in ((patches(16, 16, 16), {}), (None, sliding(16, 16, 16))):
        second = stage_values(
            regions=regions,
            **({"training": {"sampler": sampler}} if sampler else {}),
            **({"inference": inference} if inference else {}),
        )
        with pytest.raises(InputError) as error:
            load(tmp_path, method_values(first=stage_values(), second=second))
        assert_one_line(error, "sampler volume and inference whole go together with regions")
    second = stage_values(regions={**regions, "repeat": False}, **BOTH_PATCHES)
    assert load(tmp_path, method_values(first=stage_values(), second=second)).stages


JITTERED = {
    "volume": ({"training": {"sampler": {"name": "volume"}}}, False),
    "patches on a lattice": (
        {
            "training": {"sampler": {"name": "patches", "size": [16, 16, 16], "stride": [8, 8, 8]}},
            "inference": sliding(16, 16, 16),
        },
        False,
    ),
    "windows": (
        {
            "training": {"sampler": {"name": "windows", "length": 16}},
            "inference": WINDOWS,
        },
        False,
    ),
    "patches at random": (BOTH_PATCHES, True),
    "slices": (
        {"training": {"sampler": {"name": "slices"}, "network": FLAT}, "inference": SLICES},
        True,
    ),
}


@pytest.mark.parametrize("name", JITTERED)
def test_regions_are_moved_about_where_examples_are_drawn_from_them(tmp_path, name):
    changes, possible = JITTERED[name]
    regions = {"stage": "first", "count": 1}
    steady = stage_values(regions=regions, **changes)
    assert load(tmp_path, method_values(first=stage_values(), second=steady)).stages
    moved = stage_values(regions={**regions, "jitter_mm": [1, 0, 0]}, **changes)
    values = method_values(first=stage_values(), second=moved)
    if possible:
        assert load(tmp_path, values).stages["second"].regions.jitter_mm == (1, 0, 0)
        return
    with pytest.raises(InputError) as error:
        load(tmp_path, values)
    assert_one_line(
        error,
        "mine.yaml: stages.second: ",
        "regions.jitter_mm is for sampler slices, or patches with per_case",
    )


def test_slices_are_moved_about_along_z_alone(everything):
    with pytest.raises(InputError) as error:
        recipe.load_method("mrbnet", nested("stages.locate.regions.jitter_mm", [0, 0, 1]))
    assert_one_line(error, "overrides.mrbnet: stages.locate: regions.jitter_mm", "[z, 0, 0]")


def test_patches_drawn_at_random_cannot_be_hard_one_by_one(tmp_path):
    hard = {"name": "hard", "epochs": 5, "strength": 2, "least": 0.2}
    for unit in ("case", "example"):
        change = nested("stages.segment.training.drawing", {**hard, "unit": unit})
        if unit == "case":
            assert recipe.load_method("mrbnet", change)
            continue
        with pytest.raises(InputError) as error:
            recipe.load_method("mrbnet", change)
        assert_one_line(error, "stages.segment.training: drawing.unit must be case")


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


def test_what_a_mask_leaves_needs_a_mask(tmp_path):
    regions = {"stage": "first", "count": 1, "masked_hu": 0}
    for mask in ({}, {"mask": False}):
        second = stage_values(regions={**regions, **mask})
        with pytest.raises(InputError) as error:
            load(tmp_path, method_values(first=stage_values(), second=second))
        assert_one_line(error, "mine.yaml: stages.second.regions: masked_hu needs mask: true")
    second = stage_values(regions={**regions, "mask": True})
    assert load(tmp_path, method_values(first=stage_values(), second=second)).stages


# -- members --------------------------------------------------------------------------------------


@pytest.fixture
def methods_in(tmp_path, monkeypatch):
    """Loads recipes that lie in an otherwise empty folder."""
    monkeypatch.setattr(recipe, "load_method", partial(recipe.load_method, folder=tmp_path))

    def load_all(*rows: str, overrides: dict | None = None, **recipes: dict):
        for name, values in recipes.items():
            write_recipe(tmp_path, name, values)
        configuration = {
            **configuration_values(),
            "methods": list(rows),
            "overrides": overrides or {},
        }
        return recipe.load_methods(recipe.check_configuration(configuration))

    return load_all


def with_members(merge: str | None = None, **members: object) -> dict:
    """A recipe without stages of its own."""
    place = merge or next(iter(members))
    values = method_values(**{place: {}})
    return {**values, "stages": {}, "members": members}


def two_stages(first: dict | None = None, mask: bool = False, **changes: object) -> dict:
    second = stage_values(regions={"stage": "first", "count": 1, "mask": mask}, **changes)
    first = first or {"components": {"minimum_voxels": 7}}
    return method_values(first=stage_values(**first), second=second)


TELLS_SLICES = {
    "training": {
        "target": "slices",
        "sampler": {"name": "slices"},
        "network": {"name": "resnet34_slices"},
        "loss": {"name": "cross_entropy"},
    },
    "inference": SLICES,
}


def test_recipes_that_are_no_rows_are_loaded_for_their_stages(methods_in):
    recipes = methods_in(
        "mean",
        mean=with_members(only={"of": ["one", "two"]}),
        one=method_values(only=stage_values()),
        two={"extends": "one", "title": "Two"},
        three=method_values(only=stage_values()),
    )
    assert list(recipes) == ["mean", "one", "two"]
    assert recipe.owners_of(recipes, "mean", "only") == ("one", "two")
    assert recipe.owners_of(recipes, "one", "only") == ("one",)
    assert recipe.stage_of(recipes, "mean", "only") == recipes["one"].stages["only"]
    assert recipe.merging(recipes, "mean").stages["only"].members == 2


def test_members_of_members_are_followed_to_who_trains_them(methods_in):
    recipes = methods_in(
        "outer",
        outer=with_members(only={"of": ["inner", "three"]}),
        inner=with_members(only={"of": ["one", "two"]}),
        **{name: method_values(only=stage_values()) for name in ("one", "two", "three")},
    )
    assert recipe.owners_of(recipes, "outer", "only") == ("one", "two", "three")


def test_a_member_may_be_cleaned_in_another_way(methods_in):
    recipes = methods_in(
        "all_kept",
        one=two_stages(components={"keep": 1}),
        all_kept=with_members(
            first={"of": ["one"]}, second={"of": ["one"], "components": {}}, merge="second"
        ),
    )
    assert recipes["one"].stages["second"].components == Components(keep=1)
    merging = recipe.merging(recipes, "all_kept")
    assert merging.stages["second"].components == Components()
    assert recipe.stage_of(recipes, "all_kept", "first") == recipes["one"].stages["first"]
    assert (merging.grid, merging.located) == ("first", "second")


def test_regions_may_come_from_a_member(methods_in):
    own = two_stages()
    own["stages"].pop("first")
    recipes = methods_in(
        "mine",
        one=two_stages(),
        mine={**own, "members": {"first": {"of": ["one"], "components": {"minimum_voxels": 9}}}},
    )
    assert recipe.region_crop(recipes, "mine", "second").components.minimum_voxels == 9
    assert recipe.region_crop(recipes, "one", "second").components.minimum_voxels == 7
    assert recipe.merging(recipes, "mine").grid == "first"


def test_what_is_set_to_null_is_not_taken_over(methods_in):
    recipes = methods_in(
        "child",
        base=two_stages(),
        child={
            "extends": "base",
            "stages": {"first": None},
            "members": {"first": {"of": ["base"]}},
        },
        grandchild={
            "extends": "child",
            "members": {"first": None},
            "stages": {"first": stage_values(), "second": None},
            "merge": {"whole": "first", "tumour": "first"},
        },
    )
    assert list(recipes["child"].stages) == ["second"]
    assert recipe.owners_of(recipes, "child", "first") == ("base",)
    grandchild = methods_in("grandchild")["grandchild"]
    assert list(grandchild.stages) == ["first"] and grandchild.members == {}


ONE = method_values(only=stage_values())
SMALLER = method_values(only=stage_values(geometry={"size": [16, 16, 16]}))
BOTH = method_values(only=stage_values(training={"target": ["whole", "tumour"]}))
BOTH["merge"] |= {"whole": "only.whole", "tumour": "only.tumour"}

MEMBER_FAULTS = {
    "no such recipe": (
        {"mine": with_members(only={"of": ["one", "nobody"]}), "one": ONE},
        "workflow/methods/mine.yaml: members.only.of: no recipe 'nobody': choose from mine, one",
    ),
    "no such stage": (
        {"mine": with_members(other={"of": ["one"]}), "one": ONE},
        "workflow/methods/mine.yaml: members.other.of: one has no stage other: mend it",
    ),
    "of itself": (
        {"mine": with_members(only={"of": ["mine"]})},
        "members.only.of: no recipe trains it (mine -> mine): break the circle",
    ),
    "of each other": (
        {
            "mine": with_members(only={"of": ["other"]}),
            "other": with_members(only={"of": ["one", "mine"]}),
            "one": ONE,
        },
        "members.only.of: no recipe trains it (mine -> other -> mine): break the circle",
    ),
    "of no recipe": (
        {"mine": with_members(only={"of": []})},
        "workflow/methods/mine.yaml: members.only.of: ",
    ),
    "own stage of this name": (
        {"mine": {**ONE, "members": {"only": {"of": ["one"]}}}, "one": ONE},
        "stages.only: a member has this name: set one of them to null",
    ),
    "another grid": (
        {"mine": with_members(only={"of": ["one", "two"]}), "one": ONE, "two": SMALLER},
        "mine.yaml: members.only.of: one, two differ in geometry, target, or regions",
    ),
    "another target": (
        {
            "mine": with_members(only={"of": ["one", "two"]}, merge="only.whole"),
            "one": ONE,
            "two": BOTH,
        },
        "members.only.of: one, two differ in geometry, target, or regions",
    ),
    "regions that different models find": (
        {
            "mine": with_members(
                first={"of": ["one"]}, second={"of": ["one", "two"]}, merge="second"
            ),
            "one": two_stages(),
            "two": two_stages(),
        },
        "mine.yaml: members.second.of: one, two differ in geometry, target, or regions and who "
        "finds them, so their voxels cannot be averaged",
    ),
    "a mask of slices": (
        {"mine": two_stages(mask=True, first=TELLS_SLICES)},
        "mine.yaml: stages.second.regions.mask: stage first tells slices, which are no mask",
    ),
    "regions of the mean of several": (
        {
            "mine": {
                **two_stages(),
                "stages": {"second": two_stages()["stages"]["second"]},
                "members": {"first": {"of": ["one", "two"]}},
            },
            "one": two_stages(),
            "two": two_stages(),
        },
        "mine.yaml: stages.second.regions.stage: regions come from one model",
    ),
    "regions of a stage that is left behind": (
        {"mine": with_members(second={"of": ["one"]}), "one": two_stages()},
        "mine.yaml: members.second: it looks at regions of stage first, which is none here: "
        "add members.first",
    ),
    "two maps for one role": (
        {"mine": with_members(only={"of": ["one"]}), "one": BOTH},
        "mine.yaml: merge.whole is 'only': choose from only.whole, only.tumour",
    ),
    "a map that is not there": (
        {"mine": with_members(only={"of": ["one"]}, merge="only.tumour"), "one": ONE},
        "mine.yaml: merge.whole is 'only.tumour': choose from only.whole",
    ),
}


@pytest.mark.parametrize("name", MEMBER_FAULTS)
def test_faults_of_members_are_told_in_one_line(methods_in, name):
    recipes, expected = MEMBER_FAULTS[name]
    with pytest.raises(InputError) as error:
        methods_in("mine", **recipes)
    assert_one_line(error, expected)


def test_members_may_differ_in_how_they_see_and_learn(methods_in):
    other = stage_values(
        intensity={"median": 3},
        training={"epochs": 9, "network": {"width": 8}},
        components={"keep": 2},
    )
    recipes = methods_in(
        "mean",
        mean=with_members(only={"of": ["one", "two"]}),
        one=ONE,
        two=method_values(only=other),
    )
    assert recipe.owners_of(recipes, "mean", "only") == ("one", "two")


def test_members_whose_regions_one_model_finds_are_averaged(methods_in):
    shared = {**two_stages(), "members": {"first": {"of": ["one"]}}}
    shared["stages"] = {"second": two_stages()["stages"]["second"]}
    recipes = methods_in(
        "mean",
        mean=with_members(first={"of": ["one"]}, second={"of": ["one", "two"]}, merge="second"),
        one=two_stages(),
        two=shared,
    )
    assert recipe.merging(recipes, "mean").stages["second"].members == 2


def test_a_stage_may_look_without_a_mask_at_slices_that_are_told(methods_in):
    recipes = methods_in("mine", mine=two_stages(first=TELLS_SLICES))
    assert recipe.region_crop(recipes, "mine", "second").of_slices


def test_overrides_reach_recipes_that_are_no_rows_and_no_others(methods_in):
    recipes = {"mean": with_members(only={"of": ["one"]}), "one": ONE}
    change = nested("stages.only.training.epochs", 4)
    found = methods_in("mean", overrides={"one": change}, **recipes)
    assert found["one"].stages["only"].training.epochs == 4
    with pytest.raises(InputError) as error:
        methods_in("mean", overrides={"two": change}, **recipes)
    assert_one_line(error, "config.yaml: overrides.two: no such method in `methods` (mean)")


def test_a_row_that_there_is_not_is_told_with_those_there_are(methods_in):
    with pytest.raises(InputError) as error:
        methods_in("missing", one=ONE)
    assert_one_line(error, "config.yaml: methods: no recipe 'missing': choose from one")
