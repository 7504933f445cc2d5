"""Rows made of other rows, and rows of other programs."""

import pytest

from renal import recipe
from renal.errors import InputError
from renal.recipe.rows import check_rows
from tests.unit.recipe.helpers import ONE, assert_one_line, load, method_values, stage_values

BOTH = method_values(only=stage_values(training={"target": ["kidney", "tumour"]}))
BOTH["merge"]["maps"] = {"kidney": "only.kidney", "tumour": "only.tumour"}
KIDNEY = {**ONE, "merge": {"name": "nested", "maps": {"kidney": "only"}}}
OTHER = {
    "family": "external",
    "title": "Another",
    "external": {
        "folder": "other",
        "files": [{"path": "{case}.nii.gz", "labels": {1: "kidney"}}],
        "trained_on_these": "unknown",
    },
}


NNUNET = {
    "family": "nnunet",
    "title": "nnU-Net",
    "nnunet": {
        "planning": {"planner": "ExperimentPlanner", "configuration": "2d"},
        "training": {"epochs": 3},
    },
}


def average(*of: str, **values: object) -> dict:
    return {"family": "ensemble", "title": "Mean", "average": {"of": list(of), **values}}


def vote(*of: str) -> dict:
    return {"family": "ensemble", "title": "Vote", "vote": {"of": list(of), "by": "majority"}}


def test_an_average_knows_the_maps_of_each_region_and_what_they_weigh(methods_in):
    values = average("both", "kidneys", weights=[3, 1], components={"kidney": {"keep": 2}})
    recipes = methods_in("mean", mean=values, both=BOTH, kidneys=KIDNEY)
    assert list(recipes) == ["mean", "both", "kidneys"]
    settings = recipe.averaging(recipes, "mean")
    told = {
        region: [(m.stage, m.channel, m.weight) for m in maps]
        for region, maps in settings.regions.items()
    }
    assert told == {
        "kidney": [("both.only", 0, 3), ("kidneys.only", 0, 1)],
        "tumour": [("both.only", 1, 3)],
    }
    assert settings.components["kidney"].keep == 2
    assert recipe.models_of(recipes, "mean") == ("both/only", "kidneys/only")


def test_a_region_is_voted_on_by_the_rows_that_look_for_it(methods_in):
    recipes = methods_in("agreed", agreed=vote("both", "other"), both=BOTH, other=OTHER)
    settings = recipe.voting(recipes, "agreed")
    assert settings.regions == {"kidney": ("both", "other"), "tumour": ("both",)}
    assert recipe.models_of(recipes, "agreed") == ("both/only", "other/{case}.nii.gz")


def test_a_row_of_nnunet_is_one_model_whose_files_are_taken_over(methods_in):
    mixed = vote("nnunet", "regions", "other")
    recipes = methods_in("mixed", mixed=mixed, nnunet=NNUNET, regions=NNUNET, other=OTHER)
    assert recipe.merging(recipes, "nnunet").regions is None
    assert recipe.merging(recipes, "nnunet").grid is None
    assert recipe.models_of(recipes, "nnunet") == ("nnunet/nnunet",)
    assert recipe.models_of(recipes, "mixed")[:2] == ("nnunet/nnunet", "other/{case}.nii.gz")
    (file,) = recipe.imported(recipes["nnunet"]).files
    assert (file.path, file.labels) == ("{case}.nii.gz", {1: "kidney", 2: "tumour"})
    assert recipe.imported(recipes["other"]) == recipes["other"].external
    planned = {name for name in recipes if recipe.row(recipes, name).planned_on_these}
    assert planned == {"mixed", "nnunet", "regions"}
    assert recipes["nnunet"].trained == ("nnunet",) and recipes["other"].trained == ()
    with pytest.raises(InputError, match="nnunet has segmentations and no probabilities"):
        methods_in("mean", mean=average("nnunet", "both"), nnunet=NNUNET, both=BOTH)


def test_a_row_is_scored_for_what_it_looks_for(methods_in):
    recipes = methods_in(
        "agreed",
        "few",
        agreed=vote("both", "other"),
        few=vote("other", "kidneys"),
        both=BOTH,
        other=OTHER,
        kidneys=KIDNEY,
    )
    found = {name: recipe.merging(recipes, name).regions for name in recipes}
    assert found["both"] is None
    assert found["agreed"] is None
    assert found["few"] == found["other"] == found["kidneys"] == ("kidney",)
    assert recipe.merging(recipes, "agreed").grid is None


def test_a_table_says_what_is_known_of_another_program(methods_in, tmp_path):
    values = recipe.merged(OTHER, {"external": {"folder": str(tmp_path / "segmented")}})
    recipes = methods_in("other", "both", other=values, both=BOTH)
    (tmp_path / "segmented").mkdir()
    (tmp_path / "segmented/case_00001.nii.gz").touch()
    row = recipe.row(recipes, "other", ["case_00000", "case_00001", "case_00002"])
    assert (row.trained_on_these, row.missing) == ("unknown", 2)
    row = recipe.row(recipes, "both", ["case_00000"])
    assert (row.trained_on_these, row.missing) == (None, 0)


@pytest.mark.parametrize(
    ("known", "expected"), [(False, "unknown"), (True, True), ("unknown", "unknown")]
)
def test_a_vote_has_learned_from_these_cases_if_any_program_in_it_has(methods_in, known, expected):
    values = recipe.merged(OTHER, {"external": {"trained_on_these": known}})
    votes = {"agreed": vote("both", "other", "mixed"), "mixed": vote("both", "third")}
    recipes = methods_in("agreed", both=BOTH, other=OTHER, third=values, **votes)
    assert recipe.row(recipes, "agreed").trained_on_these == expected
    assert recipe.row(recipes, "both").trained_on_these is None


def test_yes_and_no_of_yaml_are_known(tmp_path):
    for word, known in ((True, True), (False, False), ("unknown", "unknown")):
        values = recipe.merged(OTHER, {"external": {"trained_on_these": word}})
        assert load(tmp_path, values).external.trained_on_these is known


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"family": "a", "title": "A"}, "one of merge, average, vote, nnunet, external makes"),
        ({**ONE, **vote("one", "two")}, "(has merge and vote)"),
        ({**vote("one", "two"), "stages": ONE["stages"]}, "vote goes without stages and members"),
        (average("one"), "average.of"),
        (average("one", "two", weights=[1]), "weights: 2 are expected"),
        (recipe.merged(OTHER, {"external": {"files": []}}), "external.files"),
        (
            recipe.merged(
                OTHER, {"external": {"files": [{"path": "{case}", "labels": {300: "kidney"}}]}}
            ),
            "external.files.0.labels",
        ),
    ],
)
def test_what_cannot_make_a_row_is_told(tmp_path, values, told):
    with pytest.raises(InputError) as error:
        load(tmp_path, values)
    assert_one_line(error, "mine.yaml", told)


def test_segmentations_are_not_averaged(methods_in):
    with pytest.raises(InputError) as error:
        methods_in("mean", mean=average("both", "other"), both=BOTH, other=OTHER)
    assert_one_line(error, "mean.yaml: average.of: other has segmentations and no probabilities")


def test_rows_that_are_made_of_themselves_are_refused(methods_in):
    with pytest.raises(InputError) as error:
        methods_in("one", one=vote("two", "both"), two=vote("one", "both"), both=BOTH)
    assert_one_line(error, "one.yaml: of: made of itself (one -> two -> one)")


def test_stages_that_tell_slices_are_not_averaged(everything):
    changed = dict(everything)
    values = {"name": "nested", "maps": {"kidney": "zrange"}}
    merge = type(everything["mrbnet"].merge).model_validate(values)
    changed["mrbnet"] = everything["mrbnet"].model_copy(update={"merge": merge})
    with pytest.raises(InputError, match="stage zrange of mrbnet tells slices"):
        check_rows(changed, "ensemble_average", changed["ensemble_average"])


def test_a_row_that_is_not_there_is_told_with_the_recipe_that_asks(methods_in):
    with pytest.raises(InputError, match=r"mean.yaml: of: no recipe 'nobody'"):
        methods_in("mean", mean=average("both", "nobody"), both=BOTH)


def test_parts_of_other_rows_are_not_asked_for(everything):
    for part in (recipe.averaging, recipe.voting):
        with pytest.raises(ValueError, match="resvnet"):
            part(everything, "resvnet")
    without_maps = everything | {"resvnet": everything["nnunet_segmentations"]}
    changed = everything["ensemble_average"].average.model_copy(update={"of": ("resvnet",)})
    mean = everything["ensemble_average"].model_copy(update={"average": changed})
    with pytest.raises(ValueError, match="resvnet has no probabilities"):
        recipe.averaging(without_maps | {"mean": mean}, "mean")
