"""CPU seconds of starts, with and without what spares them the collection of garbage.

python benchmarks/starts.py [--times N]

A step that loads torch, and Snakemake with the rules of this folder, which lists them and runs
nothing. Each is a fresh process; medians of N, one kind and the other in turn. "Collected" is the
same program with a `gc` that turns nothing off and freezes nothing.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
COLLECTED = "import gc; gc.disable = gc.freeze = gc.set_threshold = lambda *_: None\n"
STARTS = {
    "a step that loads torch": """
import argparse, atexit, gc, importlib, sys
sys.path.insert(0, "workflow")
from renal.__main__ import prepared
atexit.register(gc.freeze)
prepared(argparse.Namespace(step=lambda _: importlib.import_module("renal.learn.training")))
""",
    "a start of Snakemake": """
import sys
from snakemake.cli import main
sys.argv = ["snakemake", "--rulegraph"]
main()
""",
}


def cpu_seconds(program: str) -> float:
    """CPU seconds of a Python that runs a program, until it has ended."""
    before = os.times()
    command, silent = [sys.executable, "-c", program], subprocess.DEVNULL
    subprocess.run(command, cwd=REPOSITORY, stdout=silent, stderr=silent, check=True)
    return sum(os.times()[2:4]) - sum(before[2:4])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=5)
    times = options.parse_args().times
    rows = []
    for start, program in STARTS.items():
        pairs = [(cpu_seconds(program), cpu_seconds(COLLECTED + program)) for _ in range(times)]
        spared, collected = (median(kind) for kind in zip(*pairs, strict=True))
        rows.append((start, f"{spared:.2f}", f"{collected:.2f}", f"{1 - spared / collected:.0%}"))
    table = pd.DataFrame(rows, columns=["", "CPU s", "collected", "spared"])
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
