"""Which source files a step depends on.

Snakemake does not see that a step's program imports modules. The rules therefore have, among their
parameters, a hash of the step's module and all modules of this package that it imports, so that a
change of code re-runs what uses it. Imports are read from the source without running it.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from renal.recipe import Training

PACKAGE = Path(__file__).parent


@cache
def sources_of(*modules: str) -> list[Path]:
    """Files of some modules of this package and of all that they import from it.

    Parameters
    ----------
    *modules : str
        Names relative to the package, such as ``"training"`` or ``"networks.res_vnet"``.
    """
    found: set[Path] = set()
    waiting = [_file_of(module) for module in modules]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [_file_of(name) for name in _imports(path)]
    return sorted(found)


@cache
def code_hash(*modules: str) -> str:
    """Eight hexadecimal digits that differ when any file of `sources_of` does."""
    digest = hashlib.sha256()
    for path in sources_of(*modules):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def component_modules(training: "Training") -> list[str]:
    """Modules of the components that a recipe's training section names."""
    transforms = [f"augmentations.{transform.name}" for transform in training.augmentation]
    return [
        f"samplers.{training.sampler.name}",
        f"drawings.{training.drawing.name}",
        f"networks.{training.network.name}",
        f"losses.{training.loss.name}",
        f"optimizers.{training.optimizer.name}",
        f"schedules.{training.schedule.name}",
        *transforms,
    ]


def _file_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules of this package that a file imports, those for type checkers left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in typing_only:
            package, _, module = (node.module or "").partition(".")
            if package == "renal" and module:
                names.add(module)
    return frozenset(names)
