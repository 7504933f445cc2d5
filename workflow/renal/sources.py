"""Which source files a step depends on.

Snakemake does not see that a step's program imports modules. The rules therefore have, among their
parameters, a hash of the step's module and all modules of this package that it imports, so that a
change of code re-runs what uses it. Imports are read from the source without running it.
"""

import ast
import hashlib
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "distributed"
# Snakefile, rules and recipes lie around the package in a clone, and within it once installed.
ROOT = INSTALLED if INSTALLED.is_dir() else PACKAGE.parents[1]

# The modules that the step of each rule runs. Components that a recipe names come to them.
MODULES: dict[str, tuple[str, ...]] = {
    "validate": ("data.validation",),
    "list_cases": ("data.listing",),
    "check_cases": ("data.listing",),
    "check_segmented": ("evaluate.collect",),
    "crop_body": ("prepare.crop_body",),
    "resample": ("prepare.resample",),
    "window_normalize": ("prepare.window_normalize",),
    "crop_true_roi": ("prepare.crop_roi",),
    "crop_roi": ("prepare.crop_roi", "handover.predictions"),
    "train": ("learn.training",),
    "predict": ("learn.prediction",),
    "merge": ("evaluate.merge",),
    "average": ("evaluate.average",),
    "vote": ("evaluate.vote",),
    "write_nnunet_dataset": ("learn.nnunet.dataset",),
    "plan_nnunet": ("learn.nnunet.planning",),
    "preprocess_nnunet": ("learn.nnunet.preprocessing",),
    "train_nnunet": ("learn.nnunet.training",),
    "predict_nnunet": ("learn.nnunet.prediction",),
    "import_segmentations": ("evaluate.external", "data.label_checks"),
    "evaluate": ("evaluate.evaluation",),
    "score_annotators": ("evaluate.annotators", "data.instances", "data.label_checks"),
    "collect_scores": ("evaluate.collect",),
    "collect_segmentations": ("evaluate.collect",),
    "write_submission": ("evaluate.collect",),
    "write_tables": ("report.tables",),
    "write_test_tables": ("report.tables_of_tests",),
    "compare": ("evaluate.comparison", "report.comparison"),
    "draw_comparison": ("report.comparison_pictures",),
    "draw_gallery": ("report.gallery",),
    "draw_overlays": ("report.overlays",),
    "draw_curves": ("report.curves",),
    "draw_located": ("report.located",),
    "write_page": ("report.page",),
}


def version() -> str:
    """Version of the package, and the commit that it was made from where that is known."""
    from importlib import metadata

    commit = PACKAGE / "commit.txt"
    if (ROOT / ".git").exists():
        git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
        told = subprocess.run(git, capture_output=True, text=True, check=False).stdout
    else:
        told = commit.read_text(encoding="utf-8") if commit.exists() else ""
    return " ".join(filter(None, [metadata.version("renal"), told and f"({told.strip()})"]))


@cache
def sources_of(*modules: str) -> list[Path]:
    """Files of some modules of this package and of all that they import from it.

    Parameters
    ----------
    *modules : str
        Names relative to the package, such as ``"learn.training"``.
    """
    found: set[Path] = set()
    waiting = [path for module in modules for path in _files_of(module)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            found.update(_beside(path))
            waiting += _imported_by(path)
    return sorted(found)


@cache
def code_hash(*modules: str) -> str:
    """Eight hexadecimal digits that differ when any file of `sources_of` does."""
    digest = hashlib.sha256()
    for path in sources_of(*modules):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def training_components(training: Any) -> list[str]:
    """Modules of the components that a recipe's training section names."""
    transforms = [f"learn.augmentations.{transform.name}" for transform in training.augmentation]
    weights = ["learn.pretrained"] if training.network.weights else []
    return [
        f"learn.samplers.{training.sampler.name}",
        f"learn.drawings.{training.drawing.name}",
        f"learn.networks.{training.network.name}",
        f"learn.losses.{training.loss.name}",
        f"learn.optimizers.{training.optimizer.name}",
        f"learn.schedules.{training.schedule.name}",
        *transforms,
        *weights,
    ]


def prediction_components(stage: Any) -> list[str]:
    """Modules of the components that a stage predicts with."""
    return [
        f"learn.networks.{stage.training.network.name}",
        f"learn.inferers.{stage.inference.name}",
    ]


def _files_of(module: str) -> list[Path]:
    """What Python runs to import a module: its own file, and the packages that it lies in."""
    names = module.split(".")
    path = PACKAGE.joinpath(*names)
    own = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    packages = [PACKAGE.joinpath(*names[:depth], "__init__.py") for depth in range(len(names))]
    return [own, *packages]


@cache
def _beside(path: Path) -> list[Path]:
    """A module's template with its style and script; an editor's copy is no part of it."""
    files = (path.with_suffix(ending) for ending in (".html", ".css", ".js"))
    return [file for file in files if file.exists()]


@cache
def _imported_by(path: Path) -> frozenset[Path]:
    """Files of this package that a file imports, those for type checkers left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {name for statement in _statements(tree.body) for name in _imported(statement)}
    return frozenset(file for name in names for file in _files_of(name))


def _statements(block: list[Any]) -> Iterator[ast.AST]:
    """All statements, those for type checkers left out. Expressions hold none."""
    for statement in block:
        yield statement
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            if part != "body" or not _is_for_type_checkers(statement):
                yield from _statements(getattr(statement, part, []))


def _is_for_type_checkers(statement: ast.AST) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def _imported(node: ast.AST) -> Iterator[str]:
    """Modules of this package that a statement imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            package, _, module = alias.name.partition(".")
            if package == "renal" and module:
                yield module
    elif isinstance(node, ast.ImportFrom):
        package, _, module = (node.module or "").partition(".")
        if package == "renal":
            if module:
                yield module
            # A name may be that of a module: `from renal.learn.losses import dice`.
            for alias in node.names:
                name = f"{module}.{alias.name}".removeprefix(".")
                if _files_of(name)[0].exists():
                    yield name
