"""Stages and trainings that go together, and one-line errors for those that do not."""

import re

import pytest

from renal import recipe
from renal.errors import InputError
from renal.recipe.method import RESERVED
from tests.unit.recipe.helpers import (
    ROOT,
    SLICES,
    assert_one_line,
    configuration_values,
    load,
    method_values,
    nested,
    patches,
    recipe_values,
    sliding,
    stage_values,
    with_value,
    write_recipe,
)


@pytest.mark.parametrize("name", RESERVED)
def test_stages_and_methods_leave_the_names_of_other_results_alone(tmp_path, name):
    values = recipe_values()
    values["stages"] = {
        name if key == "tumour" else key: values["stages"][key] for key in values["stages"]
    }
    values["merge"]["maps"]["tumour"] = name
    write_recipe(tmp_path, "mine", values)
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, "mine.yaml: ", f"stages.{name}: results of another kind have this name")
    with pytest.raises(InputError) as error:
        recipe.check_configuration(with_value(configuration_values(), "methods", ["resvnet", name]))
    assert_one_line(error, f"config.yaml: methods: {name}: results of another kind have this name")


def test_every_folder_beside_those_of_methods_and_stages_is_reserved():
    """Folders of a fixed name in rules and plan, in the results and in a method's folder."""
    files = [*(ROOT / "rules").glob("*.smk"), *(ROOT / "workflow/renal/plan").glob("*.py")]
    rules = "".join(path.read_text().replace("self.results", "RESULTS") for path in files)
    folders = re.findall(r'RESULTS / "(?:\{method\}/)?([a-z_]+)(?=["/])', rules)
    folders += re.findall(r'RESULTS / (?:w\.|wildcards\.)?method / "([a-z_]+)"', rules)
    assert {"resampled", "tables", "segmentation", "pictures"} <= set(folders)
    assert set(folders) <= set(RESERVED)


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


# A last batch may have one example, so that of a channel one value is left.
ONE_VOXEL = {
    "resvnet whole": {"geometry": {"size": [16, 16, 16]}},
    "mrbnet zrange": {"geometry": {"size": [None, 32, 32]}},
    "mrbnet locate": {"geometry": {"size": [None, 16, 16]}},
    "mrbnet segment": {"training": {"sampler": {"size": [16, 16, 16]}}},
    "damnet fine": {"training": {"sampler": {"size": [4, 32, 32]}}},
    "msvnet tumour": {"geometry": {"size": [None, 16, 16]}},
}


@pytest.mark.parametrize("place", ONE_VOXEL)
def test_normalization_of_a_single_voxel_is_refused(place):
    method, stage = place.split()
    with pytest.raises(InputError) as error:
        recipe.load_method(method, {"stages": {stage: ONE_VOXEL[place]}})
    assert_one_line(error, f"stages.{stage}", "batch and instance normalisation")


def test_a_single_voxel_that_nothing_normalizes_is_legal():
    plain = nested("stages.whole.geometry.size", [16, 16, 16])
    assert recipe.load_method("resvnet_plain", plain).stages["whole"].geometry.size == (16, 16, 16)


def test_a_stopping_that_never_stops_is_refused():
    with pytest.raises(InputError) as error:
        recipe.load_method("mrbnet", nested("stages.zrange.training.stopping.minimum_rate", None))
    assert_one_line(error, "stopping", "patience or minimum_rate")


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
        ("merge.maps.kidney", "nowhere", "merge.maps.kidney is not a stage"),
        ("merge.maps.tumour", "nowhere", "merge.maps.tumour is not a stage"),
        ("merge.maps.kidney", "nowhere.kidney", "merge.maps.kidney is not a stage"),
        (
            "merge.maps.kidney",
            "whole.the_kidney",
            "merge.maps.kidney: String should match pattern",
        ),
    ],
)
def test_merge_names_stages_that_there_are(key, value, expected):
    with pytest.raises(InputError) as error:
        recipe.load_method("resvnet", nested(key, value))
    assert_one_line(error, "config.yaml: overrides.resvnet: ", expected)


WINDOWS = {"name": "windows", "length": 16, "step": 8, "keep": [4, 12]}
FLAT = {"dimensions": 2}
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
        "training: target 'kidney': tunet learns a list of regions, outer ones first",
    ),
    "two channels of a network of one": (
        {
            "training": {
                "target": ["kidney", "tumour"],
                "network": {"name": "res_vnet_cascade", "width": 2, "dropout": 0},
            }
        },
        "training: target ('kidney', 'tumour') is 2 channels, but res_vnet_cascade gives 1",
    ),
    "slices told by a network that segments": (
        {
            "training": {"target": "slices", "network": FLAT, "sampler": {"name": "slices"}},
            "inference": SLICES,
        },
        "training: target slices goes with a network that tells slices, and it alone",
    ),
    "voxels told by a network that tells slices": (
        {
            "training": {"network": {"name": "resnet34_slices"}, "sampler": {"name": "slices"}},
            "inference": SLICES,
        },
        "training: target slices goes with a network that tells slices, and it alone",
    ),
    "runs of what is no slice": (
        {"components": {"runs": {"smooth": 3}}},
        "components.runs is for a stage whose target is slices",
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


HARD = {"name": "hard", "epochs": 5, "strength": 2, "least": 0.2}


@pytest.mark.parametrize(
    "drawing", [{**HARD, "unit": "example"}, {"name": "balanced", "positive_share": 0.5}]
)
@pytest.mark.parametrize("method, stage", [("mrbnet", "segment"), ("msvnet", "kidney")])
def test_examples_at_random_places_cannot_be_known_one_by_one(method, stage, drawing):
    """Neither how hard a patch or window is, nor whether it holds foreground, stays true."""
    with pytest.raises(InputError) as error:
        recipe.load_method(method, nested(f"stages.{stage}.training.drawing", drawing))
    assert_one_line(error, f"stages.{stage}.training: drawing {drawing['name']}", "choose uniform")
    hard_cases = nested(f"stages.{stage}.training.drawing", {**HARD, "unit": "case"})
    assert recipe.load_method(method, hard_cases)


def test_what_a_mask_leaves_needs_a_mask(tmp_path):
    regions = {"stage": "first", "count": 1, "masked_hu": 0}
    for mask in ({}, {"mask": False}):
        second = stage_values(regions={**regions, **mask})
        with pytest.raises(InputError) as error:
            load(tmp_path, method_values(first=stage_values(), second=second))
        assert_one_line(error, "mine.yaml: stages.second.regions: masked_hu needs mask: true")
    second = stage_values(regions={**regions, "mask": True})
    assert load(tmp_path, method_values(first=stage_values(), second=second)).stages
