"""Commands about machines: the workflow from any folder, and what a machine has for it."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from renal.sources import ROOT

Work = Callable[[], object]


def costs(a: argparse.Namespace) -> Work:
    """Tell what a run would cost: jobs, disk, GPU hours and memory; runs nothing."""
    command = [sys.executable, "-m", "renal.costs", *a.arguments]
    return lambda: os.execve(command[0], command, safe_environment())


def safe_environment() -> dict[str, str]:
    """The environment for which no module of the working folder is taken for a library's."""
    return os.environ | {"PYTHONSAFEPATH": "1"}


def snakemake_command(arguments: Sequence[str]) -> list[str]:
    """What runs Snakemake on the rules of this package, with results in the working folder.

    A config.yaml that lies in the working folder says what differs from the workflow's own, and a
    profile that is in no other place may be one of the workflow's.

    Parameters
    ----------
    arguments : sequence of str
        What a user gives to Snakemake.
    """
    given = [
        part
        for argument in arguments
        for part in (argument.split("=", 1) if argument.startswith("--profile=") else [argument])
    ]
    for place, (option, value) in enumerate(pairwise(given), start=1):
        if option == "--profile" and not Path(value).exists() and (ROOT / value).is_dir():
            given[place] = str(ROOT / value)
    own = Path("config.yaml")
    named = any(option.partition("=")[0] in ("--configfile", "--configfiles") for option in given)
    if own.exists() and Path.cwd() != ROOT and not named:
        given = [f"--configfile={own}", *given]  # by itself it would take targets for files
    return [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *given]


def files_of_arguments(arguments: Sequence[str], folder: Path) -> tuple[list[Path], list[Path]]:
    """The YAML files that Snakemake takes its configuration from, and those of profiles.

    Parameters
    ----------
    arguments : sequence of str
        Snakemake's.
    folder : Path
        Where the Snakefile is.
    """
    from snakemake.cli import get_argument_parser, get_profile_dir

    given, _ = get_argument_parser().parse_known_args(arguments)
    profiles = [name for name in given.profile or () if name != "none"]
    own = given.workflow_profile or "default"
    if own != "none":
        places = (Path(own), Path("profiles") / own, folder / "profiles" / own)
        profiles += [str(place) for place in places if place.exists()][:1]
    given, _ = get_argument_parser(profiles).parse_known_args(arguments)
    found = filter(None, map(get_profile_dir, profiles))
    return [Path(file) for file in given.configfile], [file for _, file in found]


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
