"""Writes the conda environments from the locks: ``.venv/bin/python envs/conda.py``.

An environment holds what the steps import, and all that this needs in turn, pinned as in the lock.
"""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parent
PYTHON = "3.11.7"  # as in Dockerfile and renal.def
# What nnU-Net's steps import beside nnU-Net.
NNUNET = ("isal", "nibabel", "numpy", "pydantic", "pyyaml", "safetensors", "SimpleITK", "torch")
CPU = "--extra-index-url https://download.pytorch.org/whl/cpu"
HEADER = """\
# {what}. Made by envs/conda.py from {locks}.
name: {name}
channels: [conda-forge]
dependencies:
  - python={python}
  - pip=24.0
  - pip:
"""
GPU = "GPUs with driver r580 or newer (CUDA 13.0, which torch brings along), and CPUs"


def normal(name: str) -> str:
    """A package's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """Package to the line that pins it."""
    lines = (HERE.parent / lock).read_text(encoding="utf-8").splitlines()
    return {normal(line.partition("==")[0]): line for line in lines if "==" in line}


def needs(wanted: Requirement, python: str = PYTHON) -> list[Requirement]:
    """What an installed package needs with a Python; nothing of one that is not installed."""
    try:
        needed = [Requirement(text) for text in requires(wanted.name) or ()]
    except PackageNotFoundError:
        return []
    version = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    places = [version | {"extra": extra} for extra in ("", *wanted.extras)]
    return [
        further
        for further in needed
        if not further.marker or any(map(further.marker.evaluate, places))
    ]


def closure(names: list[str], lock: dict[str, str]) -> set[str]:
    """Packages and all that they need, as far as a lock has them: torch pins CUDA's by itself."""
    found, waiting = set(), [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        name = normal(wanted.name)
        if name in found or name not in lock:
            continue
        found.add(name)
        waiting += needs(wanted)
    return found


def environments() -> dict[str, str]:
    """File name to text of every environment."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock, nnunet = pins("requirements.lock"), pins("envs/nnunet.lock")
    steps = [lock[name] for name in sorted(closure(project["dependencies"], lock))]
    of_cpu = [CPU, *(line.replace("torch==2.13.0", "torch==2.13.0+cpu") for line in steps)]
    beside = {name: lock[name] for name in closure(list(NNUNET), lock)}
    of_nnunet = [line for _, line in sorted((beside | nnunet).items())]
    ours = "requirements.lock"
    return {
        "renal.yaml": written("renal", f"What the steps import: {GPU}", ours, steps),
        "renal-cpu.yaml": written("renal-cpu", "The same without CUDA, for CPUs", ours, of_cpu),
        "nnunet.yaml": written(
            "renal-nnunet", f"What nnU-Net's steps import: {GPU}", "both locks", of_nnunet
        ),
    }


def written(name: str, what: str, locks: str, lines: list[str]) -> str:
    """An environment as YAML."""
    head = HEADER.format(name=name, what=what, locks=locks, python=PYTHON)
    return head + "".join(f"      - {line}\n" for line in lines)


if __name__ == "__main__":
    for file, text in environments().items():
        (HERE / file).write_text(text, encoding="utf-8")
