"""Faults of sizes, of precision, and between recipes are told before anything runs."""

import pytest

from renal import recipe
from renal.errors import InputError
from tests.unit.recipe.helpers import (
    ONE,
    TELLS_SLICES,
    assert_one_line,
    configuration_values,
    method_values,
    nested,
    stage_values,
    two_stages,
    with_members,
)


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


SMALLER = method_values(only=stage_values(geometry={"size": [16, 16, 16]}))
BOTH = method_values(only=stage_values(training={"target": ["kidney", "tumour"]}))
BOTH["merge"] |= {"maps": {"kidney": "only.kidney", "tumour": "only.tumour"}}

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
            "mine": with_members(only={"of": ["one", "two"]}, merge="only.kidney"),
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
        "mine.yaml: merge.maps.kidney is 'only': choose from only.kidney, only.tumour",
    ),
    "regions of slices that are merged": (
        {
            "mine": {
                **two_stages(first={**TELLS_SLICES, "components": {"runs": {"smooth": 3}}}),
                "merge": {"name": "nested", "maps": {"kidney": "first", "tumour": "second"}},
            }
        },
        "mine.yaml: merge.maps.kidney: components.runs of stage first make regions, and are no "
        "part of a merge: leave runs out",
    ),
    "a map that is not there": (
        {"mine": with_members(only={"of": ["one"]}, merge="only.tumour"), "one": ONE},
        "mine.yaml: merge.maps.kidney is 'only.tumour': choose from only.kidney",
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
