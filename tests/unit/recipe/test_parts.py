"""A step receives the part of a recipe that it needs, and nothing else."""

import pytest

from renal import recipe
from renal.image.settings import Components
from renal.labels import Labels, Region
from renal.learn.settings import Prediction
from renal.settings import as_values
from tests.unit.recipe.helpers import (
    TELLS_SLICES,
    method_values,
    nested,
    patches,
    sliding,
    stage_values,
    two_stages,
    with_members,
)

TUMOUR = {"training": {"target": "tumour"}}


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
    assert {name: stage.maps for name, stage in merging.stages.items()} == {
        "whole": ("kidney",),
        "tumour": ("tumour",),
    }
    assert not any(stage.of_slices for stage in merging.stages.values())
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


def test_the_grid_is_the_kidneys_in_whichever_order_maps_are_written(methods_in):
    two = method_values(first=stage_values(), second=stage_values(training={"target": "tumour"}))
    for maps in (
        {"kidney": "first", "tumour": "second"},
        {"tumour": "second", "kidney": "first"},
    ):
        recipes = methods_in("mine", mine={**two, "merge": {"name": "nested", "maps": maps}})
        assert recipe.merging(recipes, "mine").grid == "first"


def test_validated_rows_are_those_with_a_split_in_any_stage(everything):
    validated = {name for name in everything if recipe.row(everything, name).validated}
    external = {name for name, method in everything.items() if method.external or method.nnunet}
    assert validated == set(everything) - {"resvnet", "resvnet_plain"} - external


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


def test_slices_tell_of_the_first_region_whatever_it_is_called(methods_in):
    organ = {"labels": [1], "title": "Organ", "colour": "#0000ff", "tolerance_mm": 1}
    values = method_values(
        slices=stage_values(**TELLS_SLICES), only=stage_values(training={"target": "organ"})
    )
    for told in ("slices", "slices.organ"):
        values["merge"]["maps"] = {"organ": "only", "within": told}
        recipes = methods_in(
            "mine", mine=values, data={"labels": {1: "organ"}, "regions": {"organ": organ}}
        )
        labels = Labels({1: "organ"}, (Region("organ", (1,)),))
        stages = recipe.merging(recipes, "mine", labels).stages
        assert {name: stage.maps for name, stage in stages.items()} == {
            "slices": ("organ",),
            "only": ("organ",),
        }


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


def test_rows_of_tables_on_the_grid_are_merged_there(everything):
    merged = {name: recipe.merging(everything, name).on_one_grid for name in everything}
    assert {name for name, there in merged.items() if there} == {
        name for name in everything if everything[name].family == "tunet"
    }


@pytest.mark.parametrize(
    ("extent", "size", "there"),
    [
        ((64, 64, 64), (32, 32, 32), True),
        ((64, 64, 64), (64, 32, 32), True),
        ((64, 64, 80), (32, 32, 32), False),  # the same voxels of another part of the scan
    ],
)
def test_grids_are_one_if_they_cover_the_same_part_of_the_scan(methods_in, extent, size, there):
    first = stage_values(geometry={"extent_mm": [64, 64, 64]})
    second = stage_values(geometry={"extent_mm": list(extent), "size": list(size)})
    values = method_values(first=first, second=recipe.merged(second, TUMOUR))
    values["merge"]["maps"] = {"kidney": "first", "tumour": "second"}
    assert recipe.merging(methods_in("mine", mine=values), "mine").on_one_grid == there


def test_a_region_holds_a_patch_that_is_learned_from_and_one_that_is_predicted(methods_in):
    looks = {
        "geometry": {"size": None, "spacing": [3, 3, 3]},
        "training": {"sampler": patches(16, 32, 16)},
        "inference": sliding(32, 16, 16),
    }
    recipes = methods_in("mine", mine=two_stages(**looks))
    assert recipe.region_crop(recipes, "mine", "second").least == (32, 32, 16)
