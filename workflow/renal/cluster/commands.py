"""Commands about machines: the workflow from any folder, and what a machine has for it."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from renal.sources import ROOT

Work = Callable[[], object]


def run(a: argparse.Namespace) -> Work:
    """Run the workflow in this folder; all arguments go to Snakemake."""
    command = snakemake_command(a.arguments)
    return lambda: os.execv(command[0], command)


def costs(a: argparse.Namespace) -> Work:
    """Tell what a run would cost: jobs, disk, GPU hours and memory; runs nothing."""
    command = [sys.executable, "-m", "renal.costs", *a.arguments]
    return lambda: os.execv(command[0], command)


def snakemake_command(arguments: Sequence[str]) -> list[str]:
    """What runs Snakemake on the rules of this package, with results in the working folder.

    A config.yaml that lies in the working folder says what differs from the workflow's own, and a
    profile that is in no other place may be one of the workflow's.

    Parameters
    ----------
    arguments : sequence of str
        What a user gives to Snakemake.
    """
    given = list(arguments)
    for place, (option, value) in enumerate(pairwise(given), start=1):
        if option == "--profile" and not Path(value).exists() and (ROOT / value).is_dir():
            given[place] = str(ROOT / value)
    own = Path("config.yaml")
    if own.exists() and Path.cwd() != ROOT and not {"--configfile", "--configfiles"} & set(given):
        given = ["--configfile", str(own), *given]
    return [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *given]


def doctor(a: argparse.Namespace) -> Work:
    """Tell what this machine has of what a run needs, and what to do about the rest."""
    from renal.cluster.doctor import described, examine

    return lambda: print(described(examine(a.results)))


def add_commands(
    add: Callable[[Callable[[argparse.Namespace], Work]], argparse.ArgumentParser],
) -> None:
    """Describe the arguments of `doctor` to a parser that `add` makes of it."""
    add(doctor).add_argument(
        "--results", type=Path, default=Path("results"), help="folder of results (default: results)"
    )
