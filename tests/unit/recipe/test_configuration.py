"""config.yaml and the demonstrations, and one-line errors for every fault."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from renal import recipe
from renal.errors import InputError
from renal.recipe.configuration import OWN_FOLDERS
from renal.sources import PACKAGE
from tests.unit.recipe.helpers import (
    DEMOS,
    ROOT,
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


@pytest.mark.parametrize("demo", DEMOS)
def test_nothing_that_hides_a_dead_training_is_overridden(demo, everything):
    """A network that dies as its recipe has it would live in the demonstration alone."""
    for name, method in demonstrated(demo).items():
        for stage, own in method.stages.items():
            ours, papers = own.training, everything[name].stages[stage].training
            for key in ("normalization", "dropout"):
                assert getattr(ours.network, key, None) == getattr(papers.network, key, None)
            assert (ours.network.name, ours.loss) == (papers.network.name, papers.loss)
            assert ours.collapse_steps == papers.collapse_steps


def test_fast_yaml_runs_the_rows_that_it_overrides():
    """It is given to snakemake on top of config.yaml, as it stands."""
    values = configuration_values("config/fast.yaml")
    assert set(demonstrated("config/fast.yaml")) == set(values["overrides"])


def test_the_comparison_takes_the_models_of_make_demo():
    of_both = [configuration_values(demo) for demo in ("demo.yaml", "demos/comparison.yaml")]
    for key in ("data", "results", "folds", "batch_size"):
        assert of_both[0][key] == of_both[1][key]
    compared = demonstrated("demos/comparison.yaml")
    assert compared["resvnet"] == demonstrated("demo.yaml")["resvnet"]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("data/kits19", "with the data"),
        ("data/kits19/results", "with the data"),
        ("data/../data/kits19/case_00000", "with the data"),
        (str(PACKAGE.parent), "with the workflow's own files"),
        (str(PACKAGE / "results"), "with the workflow's own files"),
        (str(ROOT / "rules"), "with the workflow's own files"),
        (str(ROOT / "tests/unit/new"), "with the workflow's own files"),
        (str(ROOT / "docs/../.git"), "with the workflow's own files"),
        (str(ROOT), "the workflow's own folder"),
        ("/", "the top of all"),
    ],
)
def test_results_among_files_of_others_are_refused(results, expected):
    with pytest.raises(InputError) as error:
        recipe.check_configuration(with_value(configuration_values(), "results", results))
    assert_one_line(error, "config.yaml: results: ", expected)


def test_every_folder_of_the_repository_is_the_workflows_own():
    listed = ["git", "-C", str(ROOT), "ls-files"]
    told = subprocess.run(listed, capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip("no clone")
    folders = {name.partition("/")[0] for name in told.stdout.splitlines() if "/" in name}
    assert folders - {"data", "results", ".test"} == {"workflow", *OWN_FOLDERS} - {".git"}


@pytest.mark.parametrize("key", ["unlabelled", "test", "groups"])
def test_results_within_any_data_are_refused(key):
    values = with_value(configuration_values(), f"data.{key}", "more/cts")
    for results in ("more/cts", "more/cts/results", "more/../more/cts/a"):
        with pytest.raises(InputError) as error:
            recipe.check_configuration(with_value(values, "results", results))
        assert_one_line(error, "config.yaml: results: ", "more/cts, with the data")
    recipe.check_configuration(with_value(values, "results", "more"))


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
        ("folds.seed", 2**32, "folds.seed: "),
        ("folds.seed", -1, "folds.seed: "),
        ("overrides", {"other": 3}, "overrides.other: "),
        ("compute.train_threads", True, "compute.train_threads: a number is expected (is True)"),
        ("methods", ["resvnet", "tunet", "resvnet"], "methods: resvnet is named twice"),
        ("data.root", "-data", "data.root: a command takes a dash at the beginning for an option"),
        ("results", "--results/here", "results: a command takes a dash"),
        ("results", "a\nb", "results: it has control characters"),
        ("data.root", "~nobody_of_this_name/kits19", "data.root: there is no such user"),
    ],
)
def test_faults_of_the_configuration_are_told_with_their_key(key, value, expected):
    with pytest.raises(InputError) as error:
        recipe.check_configuration(with_value(configuration_values(), key, value))
    assert_one_line(error, "config.yaml: ", expected)


def test_numbers_that_python_cannot_write_are_told():
    huge = yaml.safe_load("1" + ":59" * 6000)  # by 60, as YAML 1.1 has it
    for key, value, told in (
        ("folds.seed", huge, "folds.seed"),
        ("batch_size", -huge, "batch_size"),
        ("data.test", ["a", huge], "data.test.1"),
        ("data.labels", {huge: "kidney"}, "data.labels"),
    ):
        with pytest.raises(InputError) as error:
            recipe.check_configuration(with_value(configuration_values(), key, value))
        assert_one_line(error, f"config.yaml: {told}: a number of 64 bits at most is expected")


def test_several_faults_are_told_at_once():
    values = with_value(configuration_values(), "batch_size", 0)
    with pytest.raises(InputError) as error:
        recipe.check_configuration(with_value(values, "folds.seed", "x"))
    assert_one_line(error, "batch_size: ", "folds.seed: ")


def test_overrides_with_nothing_below_are_none():
    values = with_value(configuration_values(), "overrides", None)
    assert recipe.check_configuration(values).overrides == {}


def test_the_example_acts_where_it_stands():
    """Whoever takes the signs away before it changes the learning rate."""
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    example = text.partition("for example\n")[2]
    values = yaml.safe_load(text.replace(example, re.sub("^# ?", "", example, flags=re.M)))
    overrides = recipe.check_configuration(values).overrides
    before, after = (
        recipe.load_method("resvnet", {}),
        recipe.load_method("resvnet", overrides["resvnet"]),
    )
    assert after.stages["tumour"].training.optimizer.learning_rate == 5e-4
    assert before.stages["tumour"].training.optimizer.learning_rate != 5e-4


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    values = with_value(configuration_values(), "data.root", "~/kits19")
    configuration = recipe.check_configuration(with_value(values, "results", "~"))
    assert configuration.data.root == Path("/home/somebody/kits19")
    assert configuration.results == Path("/home/somebody")


def test_no_method_has_the_name_of_a_rule_or_of_a_missing_value():
    files = [
        ROOT / "Snakefile",
        *(ROOT / "workflow").glob("Snakefile"),
        *(ROOT / "rules").glob("*"),
    ]
    rules = {r for file in files for r in re.findall(r"^rule (\w+):", file.read_text(), re.M)}
    assert {"all", "catalog", "train", "download_weights"} <= rules
    for name in [*rules, "nan", "null", "inf", "true"]:
        values = with_value(configuration_values(), "methods", [name])
        with pytest.raises(InputError) as error:
            recipe.check_configuration(values)
        assert_one_line(error, f"config.yaml: methods: {name}: ", "rename it")


@pytest.mark.parametrize("key", ["results", "data.root", "data.unlabelled"])
def test_a_link_that_leads_to_itself_is_told_where_it_is_read(tmp_path, key):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    recipe.check_configuration(with_value(configuration_values(), key, str(tmp_path / "a")))
