"""Tests of which files a step depends on: enough to re-run what changed, and no more."""

import ast
import re
from pathlib import Path

import pytest

from renal import recipe, sources
from renal.sources import PACKAGE, component_modules, sources_of

ROOT = PACKAGE.parents[1]


def names(*modules: str) -> set[str]:
    return {path.relative_to(PACKAGE).as_posix() for path in sources_of(*modules)}


def steps() -> list[tuple[str, ...]]:
    """The modules that the rules name, as they are called there."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    calls = re.findall(r"(?:code_hash|merging_code)\(((?:\s*\"[\w.]+\",?)+)", text)
    return sorted({tuple(re.findall(r"[\w.]+", call)) for call in calls})


def test_rules_name_their_sources():
    named = {step[0] for step in steps()}
    assert {"prepare", "training", "inference", "merge", "evaluation", "collect"} <= named


def test_preparation_depends_on_resampling_and_not_on_training():
    found = names("prepare")
    assert {"prepare.py", "resample.py", "intensity.py", "regions.py", "volume.py"} <= found
    assert not {"training.py", "losses/__init__.py", "metrics.py"} & found


def test_training_depends_on_its_own_components_only():
    training = recipe.load_method("resvnet", {}).stages["whole"].training
    found = names("training", *component_modules(training))
    assert {
        "training.py",
        "networks/__init__.py",
        "networks/res_vnet_cascade.py",
        "augmentations/__init__.py",
        "augmentations/flip.py",
        "augmentations/rotation.py",
        "datasets.py",
        "drawings/__init__.py",
        "drawings/uniform.py",
        "losses/__init__.py",
        "losses/dice.py",
        "optimizers/__init__.py",
        "optimizers/adam.py",
        "samplers/__init__.py",
        "samplers/volume.py",
        "schedules/__init__.py",
        "schedules/step.py",
    } <= found
    assert not {"metrics.py", "evaluation.py", "figures.py"} & found
    assert not {"samplers/patches.py", "drawings/hard.py", "losses/tversky.py"} & found


def components() -> set[str]:
    """Files of everything that a recipe chooses by its name."""
    packages = [folder for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()]
    files = [path for folder in packages for path in folder.glob("*.py")]
    return {path.relative_to(PACKAGE).as_posix() for path in files if path.stem != "__init__"}


@pytest.mark.parametrize("step", ["training", "inference", "merge", "evaluation"])
def test_a_step_depends_on_no_component_before_a_recipe_names_it(step):
    """Or a new network, loss or sampler would train every model again."""
    assert {"networks/unet.py", "samplers/slices.py", "merges/hysteresis.py"} <= components()
    # Every training can begin with pretrained weights, whatever its network.
    shared = {"networks/pretrained.py"} if step == "training" else set()
    assert names(step) & components() == shared


@pytest.mark.parametrize("name", [path.stem for path in sorted(recipe.METHODS.glob("*.yaml"))])
def test_every_component_of_every_recipe_is_a_module(name):
    method = recipe.load_method(name, {})
    modules = [f"merges.{method.merge.name}"]
    for stage in method.stages.values():
        modules += [*component_modules(stage.training), f"inferers.{stage.inference.name}"]
    assert {f"{module.replace('.', '/')}.py" for module in modules} <= components()


def test_predicting_slices_depends_on_the_neighbours_that_training_saw():
    assert "samplers/slices.py" in names("inference", "inferers.slices")
    assert "samplers/slices.py" not in names("inference", "inferers.whole")


def test_a_change_of_the_tables_trains_nothing():
    for module in ("tables", "figures", "evaluation", "metrics", "phantom"):
        assert f"{module}.py" not in names("training", "inference", "prepare", "merge")


@pytest.mark.parametrize("step", steps(), ids=" ".join)
def test_no_step_depends_on_recipes_or_the_command_line(step):
    """They receive settings as values, so a new method or option re-runs nothing."""
    assert not {"recipe.py", "__main__.py"} & names(*step)


def test_every_source_exists_and_is_listed_once_in_order():
    for step in steps():
        found = sources_of(*step)
        assert all(path.is_file() for path in found)
        assert found == sorted(set(found))


def test_modules_import_each_other_only_in_the_form_that_is_looked_for():
    """``from renal.module import name``: in another form a dependence would be missed."""
    for path in PACKAGE.rglob("*.py"):
        if path.name == "__main__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("renal") for alias in node.names), path
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                assert node.module != "renal", path


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """An empty package in place of ours."""
    monkeypatch.setattr(sources, "PACKAGE", tmp_path)
    sources.sources_of.cache_clear()
    yield tmp_path
    sources.sources_of.cache_clear()


def write_modules(folder: Path, **modules: str) -> None:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def test_imports_are_followed_through_modules_functions_and_circles(package):
    write_modules(
        package,
        first="from renal.second import thing\nimport numpy\nfrom pathlib import Path\n",
        second="def work():\n    from renal.third import thing\n",
        third="from renal.first import thing\n",
        fourth="",
    )
    assert [path.name for path in sources_of("first")] == ["first.py", "second.py", "third.py"]
    assert [path.name for path in sources_of("fourth")] == ["fourth.py"]


def test_imports_for_type_checkers_are_ignored(package):
    write_modules(
        package,
        first=(
            "from typing import TYPE_CHECKING\n"
            "from renal.second import thing\n"
            "if TYPE_CHECKING:\n"
            "    from renal.recipe import Training\n"
            "else:\n"
            "    from renal.third import thing\n"
        ),
        second="",
        third="",
        recipe="",
    )
    assert [path.name for path in sources_of("first")] == ["first.py", "second.py", "third.py"]


def test_a_package_stands_for_its_init_file(package):
    (package / "networks").mkdir()
    write_modules(package / "networks", __init__="from renal.common import x\n", one="")
    write_modules(package, first="from renal.networks import build\n", common="")
    found = [path.relative_to(package).as_posix() for path in sources_of("first")]
    assert found == ["common.py", "first.py", "networks/__init__.py"]
    assert [path.name for path in sources_of("networks.one")] == ["one.py"]
