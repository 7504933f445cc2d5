"""Snakemake's command line in a process that has loaded Snakemake already, for dry runs.

A dry run takes two seconds, of which loading Snakemake takes more than one. Processes are forked
from a server that has loaded it, and nothing of the package that is tested: each project brings a
copy of its own.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["snakemake.cli", "pydantic"])


def plan(folder: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess:
    """Run `snakemake <arguments>` in a folder; what it prints and its exit status."""
    with tempfile.TemporaryDirectory() as name:
        printed = [Path(name) / "stdout", Path(name) / "stderr"]
        process = _SERVER.Process(target=_snakemake, args=(folder, list(arguments), *printed))
        process.start()
        process.join(300)
        assert process.exitcode is not None, "Snakemake did not end within five minutes"
        return subprocess.CompletedProcess(
            arguments, process.exitcode, *(path.read_text() for path in printed)
        )


def _snakemake(folder: Path, arguments: list[str], output: Path, errors: Path) -> None:
    for number, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    sys.path[0] = str(folder)
    import snakemake.cli

    snakemake.cli.main(arguments)
