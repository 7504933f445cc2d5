"""Steps and commands about data: from arguments to the work to do, as in `renal.steps`.

Each imports what it needs itself.
"""

import argparse
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

log = logging.getLogger("renal")

Work = Callable[[], object]


def phantom(a: argparse.Namespace) -> Work:
    """Write a procedural data set in KiTS19's layout."""
    from renal.data.phantom import write_phantom

    numbers = {"labelled": a.labelled, "unlabelled": a.unlabelled, "seed": a.seed, "size": a.size}
    return partial(write_phantom, a.output, **numbers, labels=a.labels, processes=a.threads)


def validate(a: argparse.Namespace) -> Work:
    """Read and check every file of some cases."""
    from renal.data.cases import Case
    from renal.data.validation import validate
    from renal.handover.case_files import read_files

    def work() -> None:
        cases = [Case(name, *files) for name, files in read_files(a.files, a.cases).items()]
        common = {"labels": a.labels, "threads": a.threads}
        validate(a.data, cases, a.output, maximum_voxels=a.maximum_voxels, **common)

    return work


def list_cases(a: argparse.Namespace) -> Work:
    """Index all cases, with remarks on each."""
    from renal.data.listing import list_cases
    from renal.handover.checked import read_checked

    def work() -> None:
        batches = {path.stem: list(read_checked(path).values()) for path in a.checked}
        list_cases(batches, a.data, a.output, a.labels)

    return work


def check_cases(a: argparse.Namespace) -> Work:
    """Stop if a labelled case cannot be used."""
    from renal.data.listing import check_cases
    from renal.handover.checked import read_checked

    def work() -> None:
        cases = [case for path in a.checked for case in read_checked(path).values()]
        for fault in check_cases(cases, a.data, a.output):
            log.warning("%s: this case will not be segmented", fault)

    return work


def fetch(a: argparse.Namespace) -> Work:
    """Download KiTS19 or KiTS23 from the official places."""
    from renal.data.fetch import fetch

    return lambda: fetch(a.challenge, a.to, accepted=a.accept_licence, cases=a.cases, parts=a.parts)


def add_commands(
    add: Callable[[Callable[[argparse.Namespace], Work]], argparse.ArgumentParser],
) -> None:
    """Describe the arguments of every command to a parser that `add` makes of it."""
    parser = add(fetch)
    parser.add_argument("challenge", choices=["kits19", "kits23"])
    parser.add_argument("--to", type=Path, required=True, help="data folder to write")
    parser.add_argument(
        "--cases", nargs="+", default=[], help="numbers and ranges such as 0-299; default: all"
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=["images", "labels", "instances"],
        default=["images", "labels"],
        help="what to fetch of each; instances are each annotator's outlines, KiTS23 only",
    )
    parser.add_argument(
        "--accept-licence", action="store_true", help="CC BY-NC-SA 4.0, for the data"
    )
