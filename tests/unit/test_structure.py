"""The package's floors: who may import whom, and what planning loads."""

import subprocess
import sys

import pytest
import structure

from renal.sources import PACKAGE

# Each line may import those above it, and within a line nobody imports another.
FLOORS = [
    {"errors", "sources", "settings", "labels"},
    {"files", "parallel", "cluster"},
    {"image"},
    {"handover"},
    {"data", "prepare", "learn", "evaluate", "report"},
    {"recipe", "steps"},
    {"plan", "apply"},
    {"costs", "__main__"},
]
HEAVY = {"torch", "monai", "scipy", "SimpleITK", "nibabel", "pandas", "matplotlib", "snakemake"}


def test_every_room_has_its_floor():
    rooms = set(structure.arrows())
    assert rooms == set().union(*FLOORS)
    assert len(rooms) <= 20
    assert max(structure.floor(room) for room in rooms) <= len(FLOORS) <= 8


@pytest.mark.parametrize(
    "room", sorted({name.partition(".")[0] for name in structure.modules()} - {""})
)
def test_no_import_climbs(room):
    """Not for types either: what a module is typed with, its reader must read."""
    (level,) = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    below = set().union(*FLOORS[:level])
    assert structure.arrows()[room] <= below


def test_the_picture_is_of_these_rooms():
    """Of the text that it was drawn from, since Graphviz is not everywhere: `make pictures`."""
    drawn = PACKAGE.parents[1] / "docs/pictures/architecture.dot"
    assert drawn.read_text() == structure.drawing() + "\n"


def test_every_way_to_import_is_seen(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        "import numpy, renal.labels\n"
        "import renal.report.tables as tables\n"
        "from renal.image import boxes\n"
        "from renal.errors import InputError\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    import renal.plan\n"
    )
    seen = {"labels", "report.tables", "image.boxes", "errors"}
    assert structure.imports(module, typing_only=False) == seen
    assert structure.imports(module, typing_only=True) == {*seen, "plan"}


def test_no_modules_import_each_other_in_a_circle():
    assert structure.circle() == []


def test_a_circle_would_be_seen(monkeypatch):
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}}
    monkeypatch.setattr(structure, "modules", lambda: {name: name for name in graph})
    monkeypatch.setattr(structure, "imports", lambda path, typing_only: graph[path])
    assert structure.circle() == ["b", "c", "b"]


def test_no_file_is_long():
    sizes = {name: structure.lines([path]) for name, path in structure.modules().items()}
    del sizes["data.anatomy"]  # one list of solids
    assert max(sizes.values()) <= 400
    rules = PACKAGE.parents[1] / "rules"
    assert structure.lines([rules / "common.smk"]) < 120
    tests = PACKAGE.parents[1] / "tests"
    assert max(structure.lines([path]) for path in tests.rglob("*.py")) <= 600


def test_tests_mirror_the_package():
    """A test file is named after a module or a package; a few are about all modules or recipes."""
    tests = PACKAGE.parents[1] / "tests/unit"
    named = {path.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    mirrored = {(path.parent / f"test_{path.stem.strip('_')}.py").as_posix() for path in modules}
    packages = [path.parent for path in modules if path.name == "__init__.py"]
    mirrored |= {(path.parent / f"test_{path.name}.py").as_posix() for path in packages}
    mirrored |= {(path / f"test_{path.name}.py").as_posix() for path in packages}
    whole = {"test_arguments.py", "test_protocols.py", "test_safety.py", "test_structure.py"}
    assert named - mirrored <= {*whole, "recipe/test_papers.py", "report/test_page_in_browser.py"}


def test_a_step_hangs_on_little():
    assert structure.lines(structure.sources_of("learn.training")) < 1800
    assert max(structure.lines(files) for files in structure.trainings().values()) < 2600
    assert structure.lines(structure.sources_of("evaluate.collect")) < 400


def test_label_values_are_spelt_in_their_table_alone():
    assert structure.spelt_values() == []
    assert set(structure.layout_files()) == {"data.cases", "data.phantom", "data.remote"}


@pytest.mark.parametrize(
    "module", ["renal.recipe", "renal.plan", "renal.data.folds", "renal.data.selection"]
)
def test_planning_loads_no_heavy_library(module):
    program = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert not HEAVY & set(run.stdout.split())
