"""What a run will cost, as text.

Targets and ``--configfile`` are Snakemake's. Jobs are those of its dry run, and files that it would
make those of its summary.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from renal.cluster.commands import snakemake_command
from renal.costs.disk import disk_use
from renal.costs.gpu_tables import gpu_tables
from renal.costs.trainings import earlier_runs
from renal.errors import InputError

if TYPE_CHECKING:
    from renal.costs.cards import Card
    from renal.plan import Plan

GIGA = 1e9


@dataclass(frozen=True)
class GpuWork:
    """Planned GPU jobs of a stage, and what such a job took before.

    Attributes
    ----------
    step : str
        What is done, with the method and the stage.
    jobs : int
        How many are planned.
    hours : float or None
        Mean of earlier ones; None if there were none.
    """

    step: str
    jobs: int
    hours: float | None


def asked(arguments: list[str]) -> tuple[dict[str, int], set[Path]]:
    """What Snakemake would do: number of jobs of each rule, and the files that they would make.

    Raises
    ------
    InputError
        With its error.
    """
    program = snakemake_command(["--cores", "1", *arguments])
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen([*program, mode], stdout=pipe, stderr=pipe, text=True)
        for mode in ("--dry-run", "--summary")
    ]
    texts = []
    for process in running:
        out, told = process.communicate()
        if process.returncode:
            raise InputError((told.strip() or out.strip()).removeprefix("error: "))
        texts.append((out, told))
    (plan, told), (summary, _) = texts
    return jobs_by_rule(plan + told), pending_files(summary)


def jobs_by_rule(dry_run: str) -> dict[str, int]:
    """Number of jobs of each rule in the text of a dry run."""
    table = dry_run.partition("Job stats:")[2].partition("\ntotal")[0]
    rows = re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)
    return {rule: int(count) for rule, count in rows}


def pending_files(summary: str) -> set[Path]:
    """Files that are to be made, in the text of a summary: tab-separated, the last column tells."""
    rows = [line.split("\t") for line in summary.splitlines()]
    return {Path(row[0]) for row in rows if row[-1] == "update pending"}


def gpu_work(pending: set[Path], plan: "Plan") -> list[GpuWork]:
    """GPU jobs that make pending files, by method and stage, with the hours of earlier ones."""
    work = []
    stages = [(method, stage) for method, r in plan.recipes.items() for stage in r.trained]
    for method, stage in stages:
        jobs = sum(plan.model(method, stage, fold) in pending for fold in plan.held_out)
        runs = earlier_runs(plan, method, stage)
        seconds = [run["seconds"] * run["processes"] for run in runs]  # a GPU each
        work.append(GpuWork(f"train {method} {stage}", jobs, _hours(seconds)))
    for method, stage in stages:
        jobs = sum(plan.predicted(method, stage, group) in pending for group in plan.groups)
        tables = plan.benchmark_of("predict", method, stage, "*")
        seconds = [
            float(path.read_text().splitlines()[1].split("\t")[0])
            for path in tables.parent.glob(tables.name)
        ]
        work.append(GpuWork(f"predict {method} {stage}", jobs, _hours(seconds)))
    return [part for part in work if part.jobs]


def _hours(seconds: list[float]) -> float | None:
    return mean(seconds) / 3600 if seconds else None


def report(jobs: dict[str, int], pending: set[Path], plan: "Plan", cards: Sequence["Card"]) -> str:
    """What jobs and pending files cost, as lines to read; GPUs of some kinds."""
    targets = {"all", "catalog", *plan.methods}
    jobs = {rule: count for rule, count in jobs.items() if rule not in targets}
    lines = ["Jobs"]
    lines += [f"  {rule:<32}{count:>8}" for rule, count in jobs.items()]
    lines += [f"  {'all':<32}{sum(jobs.values()):>8}", "", "Disk, in GB, once all is done"]
    use = disk_use(plan)
    lines += [f"  {what:<32}{size / GIGA:>8.2f}" for what, size in use.items()]
    lines.append(f"  {'all':<32}{sum(use.values()) / GIGA:>8.2f}")
    there = sum(path.stat().st_size for path in plan.results.rglob("*") if path.is_file())
    free = shutil.disk_usage(_existing(plan.results)).free
    lines.append(f"  {'there now':<32}{there / GIGA:>8.2f}")
    lines.append(f"  {'free on that disk':<32}{free / GIGA:>8.2f}")
    work = gpu_work(pending, plan)
    if work:
        lines += ["", "GPU hours, from earlier runs in this results folder"]
    for part in work:
        hours = "no earlier run" if part.hours is None else f"{part.jobs * part.hours:.2f}"
        lines.append(f"  {part.step:<32}{part.jobs:>4} jobs  {hours:>14}")
    known = [part.jobs * part.hours for part in work if part.hours is not None]
    if work and len(known) == len(work):
        lines.append(f"  {'all':<32}{sum(p.jobs for p in work):>4} jobs  {sum(known):>14.2f}")
    return "\n".join([*lines, *gpu_tables(pending, plan, cards)])


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
