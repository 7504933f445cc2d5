"""config.yaml and the demonstrations, and one-line errors for every fault."""

import pytest

from renal import recipe
from renal.errors import InputError
from renal.sources import PACKAGE
from tests.unit.recipe.helpers import (
    DEMOS,
    assert_one_line,
    configuration_values,
    demonstrated,
    with_value,
)


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
    ("results", "expected"),
    [
        ("data/kits19", "with the data"),
        ("data/kits19/results", "with the data"),
        ("data/../data/kits19/case_00000", "with the data"),
        (str(PACKAGE.parent), "with the workflow's own files"),
        (str(PACKAGE / "results"), "with the workflow's own files"),
        ("/", "the top of all"),
    ],
)
def test_results_among_files_of_others_are_refused(results, expected):
    with pytest.raises(InputError) as error:
        recipe.check_configuration(with_value(configuration_values(), "results", results))
    assert_one_line(error, "config.yaml: results: ", expected)


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
