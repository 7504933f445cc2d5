"""Tests of which files a step depends on: enough to re-run what changed, and no more."""

import ast
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from renal import recipe, sources
from renal.plan import Plan
from renal.sources import MODULES, PACKAGE, code_hash, sources_of, training_components

EVERYTHING = sorted(path.stem for path in recipe.METHODS.glob("*.yaml"))
SETTINGS = {
    "data": {"root": "nowhere", "maximum_voxels": 10**7, "labels": "kits23"},
    "results": "results",
    "methods": EVERYTHING,
    "folds": {"count": 2, "seed": 0},
    "batch_size": 5,
    "compute": {
        "prepare_threads": 1,
        "train_threads": 1,
        "predict_threads": 1,
        "bfloat16_on_cpu": False,
        "seed": 0,
    },
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A plan of all methods, on cases that are not there."""
    from renal.plan import read_plan

    return read_plan(SETTINGS, stand_in=True)


def module_names() -> list[str]:
    """All modules of the package, relative to it; a package by its name."""
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    return [".".join(part for part in path.parts if part != "__init__") for path in paths]


def jobs(plan: Plan) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Rule, method and stage of every kind of job to the modules that it runs."""
    found: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for rule in MODULES:
        if rule in ("train", "predict"):
            pairs = [(m, s) for m, r in plan.recipes.items() for s in r.stages]
        elif rule in ("merge", "evaluate"):
            pairs = [(method, "") for method in plan.recipes]
        else:
            pairs = [("", "")]
        for method, stage in pairs:
            found[rule, method, stage] = plan.modules_of(rule, method, stage)
    return found


def names(*modules: str) -> set[str]:
    return {path.relative_to(PACKAGE).as_posix() for path in sources_of(*modules)}


def test_preparation_depends_on_resampling_and_not_on_training():
    found = names("prepare.resample", "prepare.crop_roi")
    assert {"prepare/intensity.py", "image/grids.py", "image/boxes.py", "image/volume.py"} <= found
    assert not {"learn/training.py", "learn/losses/__init__.py", "evaluate/metrics.py"} & found


def test_training_depends_on_its_own_components_only():
    training = recipe.load_method("resvnet", {}).stages["whole"].training
    found = names("learn.training", *training_components(training))
    components = {
        "networks/__init__",
        "networks/res_vnet_cascade",
        "augmentations/__init__",
        "augmentations/flip",
        "augmentations/in_plane",  # `from renal.learn.augmentations import in_plane`
        "augmentations/rotation",
        "drawings/__init__",
        "drawings/uniform",
        "losses/__init__",
        "losses/dice",
        "optimizers/__init__",
        "optimizers/adam",
        "samplers/__init__",
        "samplers/volume",
        "schedules/__init__",
        "schedules/step",
    }
    assert {"learn/training.py", "learn/datasets.py"} <= found
    assert {f"learn/{name}.py" for name in components} <= found
    assert not {"evaluate/metrics.py", "evaluate/evaluation.py", "report/overlays.py"} & found
    others = {"samplers/patches", "drawings/hard", "losses/tversky"}
    assert not {f"learn/{name}.py" for name in others} & found


def test_a_loss_made_of_others_depends_on_them():
    found = names("learn.losses.dice_cross_entropy")
    assert {"learn/losses/dice.py", "learn/losses/cross_entropy.py"} <= found


def components() -> set[str]:
    """Files of everything that a recipe chooses by its name."""
    kinds = [folder.parent for folder in PACKAGE.glob("*/*/settings.py")]
    files = {path for folder in kinds for path in folder.glob("*.py")}
    plain = {path for path in files if not path.stem.endswith(("__init__", "settings"))}
    return {path.relative_to(PACKAGE).as_posix() for path in plain}


@pytest.mark.parametrize("step", ["train", "predict", "merge", "evaluate"])
def test_a_step_depends_on_no_component_before_a_recipe_names_it(step):
    """Or a new network, loss or sampler would train every model again."""
    some = {"networks/unet", "samplers/slices", "schedules/step"}
    assert {f"learn/{name}.py" for name in some} <= components()
    assert "evaluate/merges/hysteresis.py" in components()
    assert not names(*MODULES[step]) & components()


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_component_of_every_recipe_is_a_module(name):
    method = recipe.load_method(name, {})
    modules = [f"evaluate.merges.{method.merge.name}"] if method.merge else []
    for stage in method.stages.values():
        inferer = f"learn.inferers.{stage.inference.name}"
        modules += [*training_components(stage.training), inferer]
    # Loading weights is part of a training that begins with some.
    beside = {"learn/pretrained.py"}
    assert {f"{module.replace('.', '/')}.py" for module in modules} <= components() | beside


def test_predicting_slices_depends_on_the_neighbours_that_training_saw():
    assert "learn/samplers/slices.py" in names("learn.prediction", "learn.inferers.slices")
    assert "learn/samplers/slices.py" not in names("learn.prediction", "learn.inferers.whole")


def test_a_change_of_the_tables_trains_nothing():
    steps = [MODULES[rule] for rule in ("train", "predict", "resample", "crop_roi", "merge")]
    found = names(*(module for modules in steps for module in modules))
    later = ("report/tables", "report/overlays", "evaluate/evaluation", "evaluate/metrics")
    assert not {f"{module}.py" for module in (*later, "data/phantom")} & found


def test_no_step_depends_on_schemas_recipes_planning_or_the_command_line(plan):
    """They receive settings as values, so a new method, key or option re-runs nothing."""
    for job, modules in jobs(plan).items():
        found = names(*modules)
        assert not {name for name in found if name.endswith("settings.py")}, job
        assert not {name for name in found if name.startswith(("recipe/", "plan/", "costs/"))}, job
        assert not {"__main__.py", "steps.py"} & found, job


def test_every_source_exists_and_is_listed_once_in_order():
    for modules in MODULES.values():
        found = sources_of(*modules)
        assert all(path.is_file() for path in found)
        assert found == sorted(set(found))


# What a change of each module re-runs. The rules that read checked records, run cases side by side
# or write files in one step stand for many below.
LISTING = {"list_cases", "check_cases"}
READERS = {*LISTING, "check_segmented", "collect_scores", "collect_segmentations"}
READERS |= {"write_submission"}
PREPARE = {"crop_body", "resample", "crop_true_roi", "crop_roi"}
MADE = {"merge", "average", "vote", "import_segmentations"}
LABELLED = {"write_nnunet_dataset"}
BY_NNUNET = {"plan_nnunet", "preprocess_nnunet", "train_nnunet", "predict_nnunet"}
SCORE = {*MADE, "evaluate", "score_annotators"}
MERGED = {"merge", "evaluate"}
LEARN = {"train", "predict"}
CASES = {"draw_overlays", "draw_gallery", "write_page"}
DRAW = {*CASES, "draw_curves", "draw_located", "draw_comparison"}
EVERY = set(MODULES)
TABLE = {"validate", *LISTING, *PREPARE, *LEARN, *SCORE, *CASES, *LABELLED}
TABLE |= {"write_tables", "write_test_tables", "compare", "draw_comparison"}
NOTICED = {
    "": EVERY,
    "errors": EVERY - BY_NNUNET | {"plan_nnunet", "train_nnunet"},
    "files": EVERY - BY_NNUNET | {"train_nnunet"},
    "labels": TABLE | {"draw_located"},
    "parallel": {"validate", "window_normalize", "predict", *PREPARE, *SCORE, *CASES, *LABELLED},
    "data": {"validate", *LISTING, "import_segmentations", "score_annotators"},
    "data.cases": {"validate"},
    "data.lists": {"validate", *LISTING},
    "data.validation": {"validate"},
    "data.intensity_checks": {"validate"},
    "data.posture_checks": {"validate"},
    "data.label_checks": {"validate", "import_segmentations", "score_annotators"},
    "data.listing": LISTING,
    "data.instances": {"score_annotators"},
    "prepare": PREPARE | {"window_normalize"},
    "prepare.crop_body": {"crop_body"},
    "prepare.resample": {"resample"},
    "prepare.window_normalize": {"window_normalize"},
    "prepare.crop_roi": {"crop_true_roi", "crop_roi"},
    "prepare.intensity": {"window_normalize", "crop_true_roi", "crop_roi"},
    "handover": EVERY - BY_NNUNET,
    "handover.checksums": {"validate"},
    "handover.checked": {"validate", *READERS, *PREPARE, *SCORE, *CASES, *LABELLED},
    "handover.prepared": {"resample", "window_normalize", "crop_true_roi", "crop_roi", *LEARN}
    | {*MERGED, "average"},
    "handover.predictions": {"crop_roi", "predict", *MERGED, "average"},
    "handover.segmentations": READERS - LISTING | {"evaluate", *CASES, "vote"},
    "handover.tables": {"write_tables", "write_test_tables", "compare", *DRAW},
    "handover.comparison": {"compare", "draw_comparison", "write_page"},
    "handover.foreign": {"import_segmentations"},
    "image": {"validate", "window_normalize", *PREPARE, *LEARN, *SCORE, *CASES, *LABELLED},
    "image.body": {"validate", "crop_body"},
    "image.boxes": {"validate", "window_normalize", *PREPARE, *LEARN, *SCORE}
    | {"draw_gallery", "write_page"},
    "image.components": {"validate", "crop_true_roi", "crop_roi", *MERGED, "average"}
    | {"import_segmentations", "score_annotators"},
    "image.grids": {"resample", "crop_true_roi", "crop_roi", "predict", *MERGED, "average"},
    "image.regions": {"crop_true_roi", "crop_roi"},
    "image.volume": {"validate", *PREPARE, *SCORE, *CASES, *LABELLED},
    "image.placement": {"validate", *PREPARE, *SCORE, *CASES, *LABELLED},
    "evaluate": {*SCORE, *READERS, "compare"} - LISTING,
    "evaluate.merge": MERGED,
    "evaluate.merges": MERGED,
    "evaluate.stage_map": MERGED,
    "evaluate.merges.nested": MERGED,
    "evaluate.merges.hysteresis": MERGED,
    "evaluate.hysteresis": MERGED,
    "evaluate.average": {"average"},
    "evaluate.vote": {"vote"},
    "evaluate.external": {"import_segmentations"},
    "handover.writing": SCORE - {"score_annotators"},
    "evaluate.evaluation": {"evaluate"},
    "evaluate.metrics": {"evaluate", "score_annotators"},
    "evaluate.annotators": {"score_annotators"},
    "evaluate.scores": {"evaluate", "score_annotators"},
    "evaluate.collect": READERS - LISTING,
    "evaluate.comparison": {"compare"},
    "evaluate.statistics": {"compare"},
    "report": DRAW | {"write_tables", "write_test_tables", "compare"},
    "report.tables": {"write_tables", "write_test_tables", "compare", "draw_comparison"}
    | {"write_page"},
    "report.published": {"write_tables", "write_test_tables", "compare", "draw_comparison"}
    | {"write_page"},
    "report.annotators": {"write_tables", "write_test_tables", "compare", "draw_comparison"}
    | {"write_page"},
    "report.tables_of_tests": {"write_test_tables"},
    "report.comparison": {"compare", "write_page"},
    "report.comparison_pictures": {"draw_comparison"},
    "report.overlays": CASES,
    "report.ranked": CASES,
    "report.viewed": {"draw_gallery", "write_page"},
    "report.gallery": {"draw_gallery"},
    "report.page": {"write_page"},
    "report.curves": {"draw_curves"},
    "report.located": {"draw_located"},
    "report.pictures": DRAW,
    "learn": LEARN | BY_NNUNET | LABELLED,
    "learn.nnunet": BY_NNUNET | LABELLED,
    "learn.nnunet.layout": BY_NNUNET | LABELLED,
    "learn.nnunet.dataset": LABELLED,
    "learn.nnunet.planning": {"plan_nnunet"},
    "learn.nnunet.preprocessing": {"preprocess_nnunet"},
    "learn.nnunet.training": {"train_nnunet"},
    "learn.nnunet.prediction": {"predict_nnunet"},
    "learn.prediction": {"predict"},
    "learn.mean_predictor": {"predict"},
    "learn.shortage": {"predict"},
    "learn.transposed": {"predict"},
    "learn.targets": LEARN,
    "learn.arrays": LEARN,
    "learn.device": LEARN,
    "learn.inferers": {"predict"},
    "learn.networks": LEARN,
    # Slices have the same neighbours when a stage predicts as when it learns.
    "learn.samplers": LEARN,
    "learn.samplers.slices": LEARN,
}
UNNOTICED = ("steps", "plan", "costs", "sources", "settings", "__main__", "recipe", "cluster")
# What is written at a training's end, how its processes start and where its cases lie, decides no
# model.
UNNOTICED += (
    "data.folds",
    "data.cohort",
    "data.selection",
    "data.phantom",
    "data.anatomy",
    "learn.results",
    "learn.launch",
    "learn.memory",
    "learn.collapse",
    "learn.denormals",
)
UNNOTICED += ("learn.nnunet.commands", "learn.nnunet.environment", "learn.nnunet.driver")
UNNOTICED += ("learn.nnunet.memory",)
# Seals are compared and corrections kept beside what a step makes.
UNNOTICED += ("handover.seals", "evaluate.corrections")
# The same files elsewhere, or by other names on a command line, are no other data.
UNNOTICED += ("handover.case_files", "handover.named_paths")
# What a user fetches, or asks of labels alone, is no part of a run; files are stamped by planning.
UNNOTICED += ("data.commands", "data.fetch", "data.remote", "data.transfer", "data.stamps")
UNNOTICED += ("evaluate.label_versions", "report.label_versions")
# What TensorBoard shows is written when somebody asks for it.
UNNOTICED += ("learn.histories", "report.events", "report.commands")
# What applies a packed row is no part of the workflow; a model's path is planned, not read.
UNNOTICED += ("apply", "image.sides", "image.folders", "image.dicom_headers", "image.dicom_series")
UNNOTICED += ("image.dicom_checks", "image.dicom_volume", "image.dicom_segmentation")
UNNOTICED += ("handover.models",)


def expected(module: str) -> set[str]:
    """The rules that should notice a change of a module."""
    if module in NOTICED:
        return NOTICED[module]
    if module.endswith("settings") or module.split(".")[0] in UNNOTICED or module in UNNOTICED:
        return set()
    if module.startswith("learn.networks."):
        return LEARN
    if module.startswith("learn.inferers."):
        return {"predict"}
    if module.startswith("learn."):
        return {"train"}
    raise AssertionError(f"{module}: say above what a change of it re-runs")


@pytest.mark.parametrize("module", module_names())
def test_an_edited_module_is_noticed_by_the_rules_that_run_it(plan, module, monkeypatch):
    """Every module in turn is read as if a line had been added to it."""
    before = {job: code_hash(*modules) for job, modules in jobs(plan).items()}
    path = sources._files_of(module)[0]
    read = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda self: read(self) + (b"\n# edited\n" if self == path else b"")
    )
    code_hash.cache_clear()
    try:
        after = {job: code_hash(*modules) for job, modules in jobs(plan).items()}
    finally:
        code_hash.cache_clear()
    assert {job[0] for job in before if before[job] != after[job]} == expected(module)


def test_the_page_hangs_on_its_template_style_and_script():
    beside = {f"report/page.{ending}" for ending in ("html", "css", "js")}
    assert beside <= names(*MODULES["write_page"])
    assert (
        beside & names(*(m for rule in MODULES if rule != "write_page" for m in MODULES[rule]))
        == set()
    )


def test_a_copy_beside_a_module_is_no_part_of_it(tmp_path):
    """As editors, patch and merges leave them."""
    for name in ("page.py~", "page.py.rej", "page.pyi", "page.orig", "page.css", "pages.css"):
        (tmp_path / name).touch()
    assert sources._beside(tmp_path / "page.py") == [tmp_path / "page.css"]


def test_a_training_notices_its_own_components_and_no_others(plan):
    for (rule, method, stage), modules in jobs(plan).items():
        if rule == "train":
            own = training_components(plan.training(method, stage))
            files = {f"{name.replace('.', '/')}.py" for name in own}
            shared = {"learn/augmentations/in_plane.py", "learn/networks/squeeze_excitation.py"}
            shared |= {"learn/networks/own_precision.py", "learn/networks/on_cpu.py"}
            shared |= {"learn/networks/resnet.py", "learn/networks/unet.py"}
            shared |= {"learn/networks/res_vnet_cascade.py"}
            shared |= {"learn/losses/dice.py", "learn/losses/cross_entropy.py"}
            assert names(*modules) & components() <= files | shared, (method, stage)


# What the libraries take to load, they take once: each rule's modules are loaded in a fork. Of
# nnU-Net, which is not installed here, every name is an empty class.
LOADED = """
import importlib.machinery, json, os, sys, types
class Any(type):
    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return Any(name, (), {})
class Module(types.ModuleType):
    __getattr__ = Any.__getattr__
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "nnunetv2":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return Module(spec.name)
    def exec_module(self, module):
        pass
sys.meta_path.append(Absent())
import SimpleITK, nibabel, numpy, pandas, safetensors.torch, scipy.ndimage, torch
from renal.sources import PACKAGE
for rule, modules in json.loads(sys.argv[1]).items():
    if os.fork() == 0:
        for module in modules:
            __import__(f"renal.{module}")
        ours = [m.__file__ for name, m in sys.modules.items() if name.partition(".")[0] == "renal"]
        print(json.dumps([rule, sorted({*ours} - {str(PACKAGE / "sources.py")})]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, rule
"""


@pytest.fixture(scope="module")
def loaded(plan) -> dict[str, set[str]]:
    """Rule to the files that Python's own import system finds for its step."""
    modules_of = {job[0]: modules for job, modules in jobs(plan).items()}
    run = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(modules_of)],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    found = dict(json.loads(line) for line in run.stdout.splitlines())
    return {
        rule: {Path(file).relative_to(PACKAGE).as_posix() for file in files}
        for rule, files in found.items()
    }


@pytest.mark.parametrize("rule", sorted(MODULES))
def test_what_python_loads_for_a_step_is_in_its_hash(plan, loaded, rule):
    """Or fewer where a function imports later."""
    modules = {job[0]: modules for job, modules in jobs(plan).items()}[rule]
    hashed = names(*modules)
    assert loaded[rule] <= hashed
    # Named in functions alone: what only some calls need.
    later = {"learn/networks/__init__.py", "learn/inferers/__init__.py", "learn/targets.py"}
    later |= {"learn/device.py", "learn/arrays.py", "learn/shortage.py", "labels.py"}
    later |= {"learn/mean_predictor.py", "learn/transposed.py"}
    assert {name for name in hashed if name.endswith(".py")} - loaded[rule] <= later


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """An empty package in place of ours."""
    (tmp_path / "__init__.py").touch()
    monkeypatch.setattr(sources, "PACKAGE", tmp_path)
    sources.sources_of.cache_clear()
    yield tmp_path
    sources.sources_of.cache_clear()


def write_modules(folder: Path, **modules: str) -> None:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def found_in(package: Path, *modules: str) -> list[str]:
    return [path.relative_to(package).as_posix() for path in sources_of(*modules)]


def test_imports_are_followed_through_modules_functions_and_circles(package):
    write_modules(
        package,
        first="from renal.second import thing\nimport numpy\nfrom pathlib import Path\n",
        second="def work():\n    from renal.third import thing\n",
        third="from renal.first import thing\n",
        fourth="import renal.third\n",
        fifth="from renal import fourth\n",
    )
    circle = ["__init__.py", "first.py", "second.py", "third.py"]
    assert found_in(package, "first") == circle
    assert found_in(package, "fourth") == sorted([*circle, "fourth.py"])
    assert found_in(package, "fifth") == sorted([*circle, "fourth.py", "fifth.py"])


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
    assert found_in(package, "first") == ["__init__.py", "first.py", "second.py", "third.py"]


def test_a_module_brings_the_packages_that_it_lies_in(package):
    (package / "networks").mkdir()
    write_modules(package / "networks", __init__="from renal.common import x\n", one="", two="")
    write_modules(package, first="from renal.networks import build, one\n", common="")
    shared = ["__init__.py", "common.py", "networks/__init__.py"]
    # `one` is a module, `build` is not.
    assert found_in(package, "first") == sorted([*shared, "first.py", "networks/one.py"])
    assert found_in(package, "networks.two") == sorted([*shared, "networks/two.py"])


@pytest.mark.parametrize("commit", ["0123456789ab\n", None])
def test_a_version_without_a_clone_is_of_the_commit_that_it_was_made_from(
    monkeypatch, tmp_path, commit
):
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    monkeypatch.setattr(sources, "PACKAGE", tmp_path)
    if commit:
        (tmp_path / "commit.txt").write_text(commit)
    number = metadata.version("renal")
    assert sources.version() == (f"{number} (0123456789ab)" if commit else number)


def test_relative_imports_are_not_used():
    """They would not be followed."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path
