"""Damage files between steps at random, and see whether the step that reads one says so.

python benchmarks/corrupt.py PROJECT [--times 1000] [--seed 0]

A tiny run is made in the folder PROJECT, unless one is there. Each time a file that a step left for
another is cut off, loses one bit, is emptied or gets the content of another file of its kind, and a
step that reads it runs. Named is a damage that ends the step with a line that names the file;
harmless is one that changes no byte of what the step writes; all else is silent, and there must be
none. Each is a line of PROJECT/damages.csv, and a call that was stopped goes on behind the last.
"""

import argparse
import collections
import csv
import hashlib
import importlib
import os
import random
import shlex
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import faults

sys.path.insert(0, str(faults.REPOSITORY / "workflow"))

from renal.__main__ import handed_over, main, parser
from renal.handover.seals import SEAL, visible_files
from renal.sources import MODULES

# The first pattern that a path has.
KINDS = {
    "seal": "*.seal.json",
    "list of files": "*/files.json",
    "index of a folder": "*/cases.json",
    "checked record": "*/cases/*.json",
    "boxes of bodies": "*/body/*.json",
    "prepared image": "*.image.npy",
    "prepared label": "*.label.npy",
    "model": "*.safetensors",
    "training curve": "*/history.csv",
    "prediction": "*.npz",
    "segmentation": "*/merged/*.nii.gz",
    "collected segmentation": "*/segmentation/*.nii.gz",
    "scores": "*.csv",
    "running state": "*/state.pt",
}
DAMAGES = ("cut", "bit", "emptied", "swapped")
COLUMNS = ("number", "kind", "file", "damage", "step", "outcome", "told")
# Of a run, not of what it made.
DIFFERS = ("run.json", "state.lock")
SECONDS_TO_A_STATE = 121  # 120 before its limit a training stops

Command = tuple[str, ...]


def commands(folder: Path) -> list[Command]:
    """The arguments of every step of a project's run."""
    dry = ("--dry-run", "--forceall", "--printshellcmds")
    printed = faults.snakemake(folder, *dry)
    found = []
    for line in (printed.stdout + printed.stderr).splitlines():
        if " renal " in line and "Shell command:" in line:
            found.append(tuple(shlex.split(line.partition(" renal ")[2])))
    return found


def without(command: Command, *options: str) -> Command:
    """A command without some options and their values."""
    left = list(command)
    for option in options:
        if option in left:
            place = left.index(option)
            del left[place : place + 2]
    return tuple(left)


def kind_of(path: Path) -> str:
    """What a file is."""
    return next(kind for kind, pattern in KINDS.items() if fnmatch(str(path), pattern))


def readers(found: list[Command]) -> dict[Path, list[Command]]:
    """Files that steps leave for others, their seals among them, to the steps that read them."""
    read = collections.defaultdict(list)
    for command in found:
        for path in handed_over(parser().parse_args(command)):
            if path.is_dir():
                files = [*visible_files(path), path / SEAL]
            else:
                seals = [path.with_name(f".{path.name}{SEAL}"), path.parent / SEAL]
                files = [path, *(seal for seal in seals if seal.exists())]
            for file in files:
                read[file].append(command)
    return read


def run(command: Command, output: Path) -> tuple[int, str]:
    """Run a step in a process of its own that writes to `output`; its status and what it told."""
    arguments = [*without(command, "--output", "--log"), "--output", str(output)]
    with tempfile.TemporaryFile("w+") as told:
        child = os.fork()
        if not child:
            status = 70
            try:
                os.dup2(told.fileno(), 1)
                os.dup2(told.fileno(), 2)
                sys.argv = ["renal", *arguments]
                status = main()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        told.seek(0)
        return os.waitstatus_to_exitcode(status), told.read()


def made(output: Path) -> dict[str, str]:
    """Checksums of what a step wrote."""
    paths = sorted(output.rglob("*")) if output.is_dir() else [output]
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file() and path.name not in DIFFERS and not path.name.startswith(".")
    }


def output_in(folder: Path, command: Command) -> Path:
    return folder / Path(command[command.index("--output") + 1]).name


def damaged(content: bytes, damage: str, others: list[bytes], draw: random.Random) -> bytes:
    """What a damage leaves of a file."""
    if damage == "swapped" and others:
        return draw.choice(others)
    if damage in ("cut", "swapped"):
        return content[: draw.randrange(len(content))]
    if damage == "emptied":
        return b""
    place = draw.randrange(len(content))
    flipped = content[place] ^ (1 << draw.randrange(8))
    return content[:place] + bytes([flipped]) + content[place + 1 :]


class Project:
    """A finished tiny run, what its steps read, and what they write undisturbed."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "results/segmented/all.txt").exists():
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "run.yaml").exists():
                faults.make_project(folder)
            faults.finish(folder)
        os.chdir(folder)
        found = commands(folder)
        self.expected: dict[Command, dict[str, str]] = {}
        self.files = collections.defaultdict(list)
        self.readers = readers(found)
        for path in sorted(self.readers):
            if path.stat().st_size:
                self.files[kind_of(path)].append(path)
        for number, command in enumerate(c for c in found if c[0] == "train"):
            state = Path("states") / str(number) / "state.pt"
            if not state.exists():
                stopped = without(command, "--minutes")
                run((*stopped, "--minutes", str(SECONDS_TO_A_STATE / 60)), state.parent)
            if state.exists():  # a training that is done sooner leaves none
                self.files[kind_of(state)].append(state)
                self.readers[state] = [command]

    def undisturbed(self, command: Command) -> dict[str, str]:
        """What a step writes of undamaged files."""
        if command not in self.expected:
            with tempfile.TemporaryDirectory() as folder:
                output = output_in(Path(folder), command)
                status, told = run(command, output)
                assert status == 0, told
                self.expected[command] = made(output)
        return self.expected[command]

    def damage(self, number: int, seed: int) -> dict[str, str | int]:
        """Damage a file, run a step that reads it, and mend the file."""
        draw = random.Random(f"{seed} {number}")
        kind = draw.choice(sorted(self.files))
        path = draw.choice(self.files[kind])
        command = draw.choice(self.readers[path])
        expected = self.undisturbed(command)
        content, damage = path.read_bytes(), draw.choice(DAMAGES)
        others = [other.read_bytes() for other in self.files[kind] if other != path]
        bad = damaged(content, damage, [other for other in others if other != content], draw)
        with tempfile.TemporaryDirectory() as folder:
            output = output_in(Path(folder), command)
            if path.name == "state.pt":
                output.mkdir()
                (output / "state.pt").write_bytes(bad)
                status, told = run(command, output)
            else:
                path.write_bytes(bad)
                try:
                    status, told = run(command, output)
                finally:
                    path.write_bytes(content)
            same = status == 0 and made(output) == expected
        # A damaged seal is told with what it seals.
        names = [str(path), str(path.parent), path.name.removesuffix(SEAL).removeprefix(".")]
        named = any(name in told for name in (names if kind == "seal" else names[:1]))
        outcome = "silent"
        if status == 1 and named and "internal error" not in told and "Traceback" not in told:
            outcome = "named"
        elif same:
            outcome = "harmless"
        last = told.strip().splitlines()[-1:] or [""]
        row = (number, kind, str(path), damage, command[0], outcome, last[0])
        return dict(zip(COLUMNS, row, strict=True))


def damage_all(project: Project, stored: Path, times: int, seed: int) -> Iterator[dict[str, Any]]:
    """Damages that are stored, and those that are left to do."""
    done: list[dict[str, Any]] = []
    if stored.exists():
        with stored.open(newline="", encoding="utf-8") as stream:
            done = list(csv.DictReader(stream))
    yield from done
    with stored.open("a", newline="", encoding="utf-8", buffering=1) as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if not done:
            writer.writeheader()
        for number in range(len(done), times):
            row = project.damage(number, seed)
            writer.writerow(row)
            yield row


def report(rows: list[dict[str, Any]]) -> None:
    """Print how many damages of each kind had which outcome."""
    counts = collections.Counter((row["kind"], row["outcome"]) for row in rows)
    outcomes = ("named", "harmless", "silent")
    print(f"{'':<28}" + "".join(f"{outcome:>10}" for outcome in outcomes))
    for kind in sorted({row["kind"] for row in rows}):
        print(f"{kind:<28}" + "".join(f"{counts[kind, outcome]:>10}" for outcome in outcomes))
    totals = collections.Counter(row["outcome"] for row in rows)
    print(f"{len(rows):<28}" + "".join(f"{totals[outcome]:>10}" for outcome in outcomes))


def start() -> None:
    """Read the arguments, damage, and report."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("project", type=Path)
    options.add_argument("--times", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    a = options.parse_args()
    # Once for all children; what a step imports in its function is fast after that. nnU-Net's
    # modules need its own environment.
    modules = {module for modules in MODULES.values() for module in modules}
    for module in {module for module in modules if not module.startswith("learn.nnunet")}:
        importlib.import_module(f"renal.{module}")
    folder = a.project.resolve()
    rows = []
    for row in damage_all(Project(folder), folder / "damages.csv", a.times, a.seed):
        rows.append(row)
        if row["outcome"] == "silent":
            print(*row.values(), flush=True)
    report(rows)
    sys.exit(any(row["outcome"] == "silent" for row in rows))


if __name__ == "__main__":
    start()
