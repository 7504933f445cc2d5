"""Figures of the package's structure: rooms, floors, circles, closures, and what a change costs.

``python benchmarks/structure.py`` prints them. A room is a module or a package at the package's
top; a floor is a step of the longest way down along imports, those for type checkers included.
"""

import argparse
import ast
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "workflow/renal"
sys.path.insert(0, str(PACKAGE.parent))

from renal import recipe  # noqa: E402
from renal.labels import KITS19  # noqa: E402
from renal.recipe.strict_yaml import read_mapping  # noqa: E402
from renal.sources import MODULES, sources_of, training_components  # noqa: E402

PHASES = ("data", "prepare", "learn", "evaluate", "report")


@cache
def modules() -> dict[str, Path]:
    """Name of each module, relative to the package, to its file; a package by its name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports(path: Path, *, typing_only: bool) -> set[str]:
    """Modules of the package that a file names in imports, with or without those for types."""
    tree, names = ast.parse(path.read_text(encoding="utf-8")), modules()
    skipped: set[ast.AST] = set()
    if not typing_only:
        blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
        for block in blocks:
            if ast.unparse(block.test) == "TYPE_CHECKING":
                skipped |= {node for part in block.body for node in ast.walk(part)}
    found = set()
    for node in set(ast.walk(tree)) - skipped:
        if isinstance(node, ast.Import):
            wanted = {alias.name for alias in node.names}
            found |= {name.removeprefix("renal.") for name in wanted if name.startswith("renal.")}
        elif isinstance(node, ast.ImportFrom):
            package, _, module = (node.module or "").partition(".")
            if package == "renal":
                wider = {f"{module}.{alias.name}".removeprefix(".") for alias in node.names}
                found |= wider & names.keys() or {module}
    return found - {""}


@cache
def arrows() -> dict[str, frozenset[str]]:
    """Room to the rooms that it imports, for types too."""
    found: dict[str, set[str]] = {}
    for name, path in modules().items():
        if name:
            room = name.partition(".")[0]
            targets = {other.partition(".")[0] for other in imports(path, typing_only=True)}
            found.setdefault(room, set()).update(targets - {room})
    return {room: frozenset(targets) for room, targets in found.items()}


@cache
def floor(room: str) -> int:
    """1 for a room that imports none; recursion ends only where rooms make no circle."""
    return 1 + max((floor(other) for other in arrows()[room]), default=0)


def circle() -> list[str]:
    """Modules that import each other while the program runs, in a circle; empty if none do."""
    graph = {name: imports(path, typing_only=False) for name, path in modules().items()}
    done: set[str] = set()

    def search(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            if found := search(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in graph if (found := search(name, []))), [])


def lines(paths: list[Path]) -> int:
    """Lines of some files."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def trainings() -> dict[tuple[str, str], list[Path]]:
    """Method and stage to the files that its training depends on."""
    return {
        (name, stage): sources_of("learn.training", *training_components(settings.training))
        for name in sorted(path.stem for path in recipe.METHODS.glob("*.yaml"))
        for stage, settings in recipe.load_method(name, {}).stages.items()
    }


def spelt_values() -> list[str]:
    """Places that compare something called a label, truth, prediction or mask with 1, 2 or 3."""
    found = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and name != "labels":
                words = ast.unparse(node.left)
                compared = {c.value for c in node.comparators if isinstance(c, ast.Constant)}
                if compared & {1, 2, 3} and any(
                    word in words for word in ("label", "truth", "prediction", "mask")
                ):
                    found.append(f"{name}:{node.lineno}")
    return found


def named_regions() -> list[str]:
    """Modules that spell a region's or tissue's name, which a third class may have to visit."""
    table = {*KITS19.names, *KITS19.tissues.values()}
    found = []
    for name, path in modules().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        spelt = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value in table]
        if spelt and name != "labels":
            found.append(f"{name} {len(spelt)}")
    return found


def class_edits(base: str, wider: str) -> int:
    """Values that a recipe of one more class gives anew, but for its title; no file is edited."""

    def count(value: object) -> int:
        if isinstance(value, dict):
            return sum(count(part) for part in value.values())
        return 1

    written = read_mapping(recipe.METHODS / f"{wider}.yaml")
    assert written.pop("extends") == base
    return count({key: value for key, value in written.items() if key != "title"})


def layout_files() -> list[str]:
    """Modules that name the files of a data set."""
    words = ("IMAGE", "imaging.nii", "labelsT", "imagesT")
    return [
        name
        for name, path in modules().items()
        if any(word in path.read_text(encoding="utf-8") for word in words)
    ]


def drawing() -> str:
    """The rooms by floors for Graphviz, lowest floor below; ways that a longer one covers go."""
    rooms = sorted(arrows())
    lines = ["digraph rooms {", "rankdir=TB; ranksep=0.45; nodesep=0.25;"]
    lines.append('node [shape=box, style="rounded,filled", fillcolor="#e8f1fa", color="#2c6fad",')
    lines.append('      fontname=sans, fontsize=12]; edge [color="#888888"];')
    for level in range(1, max(floor(room) for room in rooms) + 1):
        same = " ".join(f'"{room}";' for room in rooms if floor(room) == level)
        lines.append(f"{{rank=same; {same}}}")
    for room in rooms:
        label = f"{room}/" if (PACKAGE / room).is_dir() else f"{room}.py"
        lines.append(f'"{room}" [label="{label}"];')
        below = arrows()[room]
        further = {deeper for other in below for deeper in reached(other)}
        lines += [f'"{room}" -> "{other}";' for other in sorted(below - further)]
    return "\n".join([*lines, "}"])


def reached(room: str) -> set[str]:
    """Rooms that a room imports, and what they import in turn."""
    return set(arrows()[room]).union(*(reached(other) for other in arrows()[room]))


def main() -> None:
    """Print the figures, or the drawing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dot", action="store_true", help="print the rooms for Graphviz instead")
    if parser.parse_args().dot:
        print(drawing())
        return
    rooms, closures = sorted(arrows()), trainings()
    hardest = max(closures, key=lambda job: lines(closures[job]))
    own = sources_of(*MODULES["train"])
    collect = sources_of(*MODULES["collect_segmentations"])
    up = [(a, b) for a in PHASES for b in arrows()[a] if b in PHASES]
    sizes = {name: lines([path]) for name, path in modules().items()}
    longest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
    rows = [
        ("rooms at the top", f"{len(rooms)}: {' '.join(rooms)}"),
        ("floors", str(max(floor(room) for room in rooms))),
        ("phases that import each other", str(up or "none")),
        ("circle", " -> ".join(circle()) or "none"),
        ("longest files", ", ".join(f"{name} {sizes[name]}" for name in longest)),
        ("a training hangs on", f"{len(own)} files, {lines(own)} lines"),
        (
            "with its components at most on",
            f"{len(closures[hardest])} files, {lines(closures[hardest])} lines "
            f"({' '.join(hardest)})",
        ),
        ("collecting hangs on", f"{len(collect)} files, {lines(collect)} lines"),
        ("label values spelt outside of labels.py", ", ".join(spelt_values()) or "none"),
        ("modules that name a region or tissue", ", ".join(named_regions()) or "none"),
        (
            "one more class",
            "data.labels in config.yaml, and a recipe of "
            + ", ".join(
                f"{class_edits(base, f'{base}_cyst')} values ({base}_cyst)"
                for base in ("damnet", "tunet")
            ),
        ),
        ("modules that know a layout's files", ", ".join(layout_files())),
    ]
    for title, text in rows:
        print(f"{title:<42}{text}")


if __name__ == "__main__":
    main()
