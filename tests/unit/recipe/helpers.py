"""What the tests of recipes share: files of the repository, and small recipes of their own."""

import copy
from pathlib import Path

import pytest
import yaml

from renal import recipe

ROOT = Path(__file__).resolve().parents[3]


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
    assert "\n" not in message, message
    for part in parts:
        assert part in message, message


def recipes_of(*names: str) -> dict[str, recipe.Method]:
    values = {**configuration_values(), "methods": list(names), "overrides": {}}
    values["data"]["labels"] = "kits23"  # has the regions of all recipes
    return recipe.load_methods(recipe.check_configuration(values))


def demonstrated(demo: str) -> dict[str, recipe.Method]:
    """The recipes of a demonstration, as it changes them."""
    values = recipe.merged(configuration_values(), configuration_values(demo))
    return recipe.load_methods(recipe.check_configuration(values))


DEMOS = (
    "demo.yaml",
    "demos/tunet.yaml",
    "demos/localized.yaml",
    "demos/msvnet.yaml",
    "demos/comparison.yaml",
    "demos/kits23.yaml",
    "demos/kits23_tunet.yaml",
    "benchmarks/study.yaml",
)


def stage_values(**changes: object) -> dict:
    """A stage with a 3D U-Net of three levels, on whole volumes: multiples of four."""
    values = {
        "geometry": {"size": [32, 32, 32]},
        "intensity": {},
        "training": {
            "target": "kidney",
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
    merge = {"name": "nested", "maps": {"kidney": last, "tumour": last}}
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


SLICES = {"name": "slices", "batch": 4}


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
    "geometry": {"size": [32, 64, 64]},  # more than the 32 voxels that are one at its deepest level
    "training": {
        "target": "slices",
        "sampler": {"name": "slices"},
        "network": {"name": "resnet34_slices"},
        "loss": {"name": "cross_entropy"},
    },
    "inference": SLICES,
}
ONE = method_values(only=stage_values())
