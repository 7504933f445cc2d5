"""Recipes are read: what they extend beneath, overrides on top, and faults of the files."""

import pytest

from renal import recipe
from renal.errors import InputError
from renal.sources import ROOT
from tests.unit.recipe.helpers import (
    ONE,
    assert_one_line,
    method_values,
    nested,
    recipe_values,
    stage_values,
    two_stages,
    with_members,
    with_value,
    write_recipe,
)


def test_a_fault_of_the_recipe_is_not_laid_on_its_overrides(tmp_path):
    write_recipe(tmp_path, "mine", with_value(recipe_values(), "colour", "green"))
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {"title": "Mine"}, tmp_path)
    assert_one_line(error, "workflow/methods/mine.yaml: colour: unknown key")


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


def test_component_of_another_name_replaces_the_one_beneath():
    below = {"network": {"name": "one", "width": 4}, "epochs": 3}
    assert recipe.merged(below, {"network": {"name": "two"}}) == {
        "network": {"name": "two"},
        "epochs": 3,
    }
    assert recipe.merged(below, {"network": {"width": 8}})["network"] == {"name": "one", "width": 8}


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
            "merge": {"maps": {"kidney": "first", "tumour": "first"}},
        },
    )
    assert list(recipes["child"].stages) == ["second"]
    assert recipe.owners_of(recipes, "child", "first") == ("base",)
    grandchild = methods_in("grandchild")["grandchild"]
    assert list(grandchild.stages) == ["first"] and grandchild.members == {}


def test_overrides_reach_recipes_that_are_no_rows_and_no_others(methods_in):
    recipes = {"mean": with_members(only={"of": ["one"]}), "one": ONE}
    change = nested("stages.only.training.epochs", 4)
    found = methods_in("mean", overrides={"one": change}, **recipes)
    assert found["one"].stages["only"].training.epochs == 4
    with pytest.raises(InputError) as error:
        methods_in("mean", overrides={"two": change}, **recipes)
    assert_one_line(error, "config.yaml: overrides.two: no such method in `methods` (mean)")


def test_an_override_of_a_stage_that_there_is_not_is_told_with_those_there_are(methods_in):
    change = nested("stages.tumor.training.epochs", 4)
    with pytest.raises(InputError) as error:
        methods_in("one", overrides={"one": change}, one=ONE)
    assert_one_line(error, "config.yaml: overrides.one.stages.tumor: no such stage (only)")


def test_a_row_that_there_is_not_is_told_with_those_there_are(methods_in):
    with pytest.raises(InputError) as error:
        methods_in("missing", one=ONE)
    assert_one_line(error, "config.yaml: methods: no recipe 'missing': choose from one")


def test_a_recipe_that_gives_stages_is_not_named_like_other_results(methods_in):
    recipes = {"mean": with_members(only={"of": ["tables"]}), "tables": ONE}
    with pytest.raises(InputError) as error:
        methods_in("mean", **recipes)
    assert_one_line(
        error, "workflow/methods/mean.yaml: members.only.of: tables: results of another"
    )


def test_a_key_that_a_recipe_says_twice_is_told(tmp_path):
    (tmp_path / "mine.yaml").write_text("title: One\nextends: base\ntitle: Two\n")
    with pytest.raises(InputError) as error:
        recipe.load_method("mine", {}, tmp_path)
    assert_one_line(error, "mine.yaml: 'title' is said twice, in lines 1 and 3")


# -- the configuration ----------------------------------------------------------------------------


def test_the_working_folder_s_own_configuration_lies_on_the_workflow_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipe.read_values()["methods"] == ["resvnet"]
    (tmp_path / "config.yaml").write_text("methods: [tunet]\n")
    assert recipe.read_values()["methods"] == ["tunet"]
    (tmp_path / "other.yaml").write_text("folds: {count: 3}\n")
    values = recipe.read_values([tmp_path / "other.yaml"], ["methods=[msvnet]", "batch_size=7"])
    assert (values["methods"], values["folds"]["count"]) == (["msvnet"], 3)
    assert values["batch_size"] == 7
    with pytest.raises(InputError, match="--config: Invalid config definition"):
        recipe.read_values(entries=["methods"])


def test_in_the_workflow_s_folder_config_yaml_is_read_once(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert recipe.read_values()["methods"] == ["resvnet"]
