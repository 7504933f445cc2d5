"""What a run will cost, told before anything is submitted: ``python -m renal.costs``.

Targets and ``--configfile`` are Snakemake's. Jobs are those of its dry run, and files that it would
make those of its summary. Disk use is estimated from the grids of the recipes and the shapes of the
images, and GPU hours are those that earlier runs into the same results folder took.
"""

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from renal.cluster.gpus import refuse_unusable, visible_gpus
from renal.errors import InputError
from renal.image.boxes import extended_box, whole_volume
from renal.image.grids import grid_size
from renal.image.volume import Header, read_header
from renal.plan import Plan, read_plan
from renal.recipe.strict_yaml import read_mapping

if TYPE_CHECKING:
    from renal.image.settings import Geometry
    from renal.recipe import Stage

# Headers that are read to know the shapes; the other cases are taken to be alike.
SAMPLED = 50
# Bytes a voxel: image and label, of which the grids of whole volumes are kept before and after
# normalisation; probabilities of one map, and a label map, compressed, as measured.
PREPARED, FOUND, PREDICTED, SEGMENTED = 3, 2, 0.1, 0.005
# What a region takes of an axis of the CT whose length the recipe leaves to the kidneys.
SHARE_OF_A_REGION = 0.5
# A model of 32-bit numbers; while it is trained also Adam's two, and a copy in the running state.
BYTES_OF_A_PARAMETER, COPIES_IN_TRAINING = 4, 3
# A folder of segmentations by fold, and the one of the method.
SEGMENTATIONS_OF_A_METHOD = 2
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
    program = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
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


def gpu_work(pending: set[Path], plan: Plan) -> list[GpuWork]:
    """GPU jobs that make pending files, by method and stage, with the hours of earlier ones."""
    work = []
    stages = [(method, stage) for method, r in plan.recipes.items() for stage in r.trained]
    for method, stage in stages:
        jobs = sum(plan.model(method, stage, fold) in pending for fold in plan.held_out)
        runs = plan.results.glob(f"{method}/{stage}/fold*/run.json")
        found = [json.loads(path.read_text()) for path in runs]
        seconds = [run["seconds"] * run["processes"] for run in found]  # a GPU each
        work.append(GpuWork(f"train {method} {stage}", jobs, _hours(seconds)))
    for method, stage in stages:
        jobs = sum(plan.predicted(method, stage, group) in pending for group in plan.groups)
        tables = plan.results.glob(f"benchmarks/predict/{method}-{stage}-*.tsv")
        seconds = [float(path.read_text().splitlines()[1].split("\t")[0]) for path in tables]
        work.append(GpuWork(f"predict {method} {stage}", jobs, _hours(seconds)))
    return [part for part in work if part.jobs]


def _hours(seconds: list[float]) -> float | None:
    return mean(seconds) / 3600 if seconds else None


def disk_use(plan: Plan) -> dict[str, float]:
    """Bytes that a finished run needs, by what they are.

    Grids that methods share are counted once, as they are made once.
    """
    cases = len(plan.cases)
    sample = list(plan.cases.values())[:: math.ceil(cases / SAMPLED)]
    headers = [read_header(case.image) for case in sample]
    stages = [stage for method in plan.recipes.values() for stage in method.stages.values()]
    whole = [stage for stage in stages if stage.regions is None]
    crops = {(s.geometry, s.intensity, s.regions): s for s in stages if s.regions is not None}
    resampled = sum(_voxels(grid, headers) for grid in {stage.geometry for stage in whole})
    images = {(stage.geometry, stage.intensity) for stage in whole}
    normalized = sum(_voxels(grid, headers) for grid, _ in images)
    regions = sum(_stage_voxels(stage, headers) for stage in crops.values())
    predicted = sum(_stage_voxels(stage, headers) for stage in stages)
    native = mean(math.prod(header.shape) for header in headers)
    parameters = sum(_parameters(stage) for stage in stages) * len(plan.held_out)
    segmentations = SEGMENTATIONS_OF_A_METHOD * len(plan.methods)
    return {
        "resampled and normalised": (resampled + normalized) * cases * PREPARED,
        # True ones to learn from, and images of those that the earlier stage found.
        "regions": regions * cases * (PREPARED + FOUND),
        "predictions": predicted * cases * PREDICTED,
        "segmentations": native * cases * SEGMENTED * segmentations,
        "models": parameters * BYTES_OF_A_PARAMETER,
        "running states, until trained": parameters * BYTES_OF_A_PARAMETER * COPIES_IN_TRAINING,
    }


def _voxels(geometry: "Geometry", headers: list[Header]) -> float:
    """Mean voxels of a grid over whole volumes, which is what a body's box is taken for."""
    voxels = []
    for header in headers:
        box = whole_volume(header.shape)
        if geometry.extent_mm is not None:
            box = extended_box(header.shape, header.spacing, geometry.extent_mm)
        voxels.append(math.prod(grid_size(geometry, box, header.spacing)))
    return mean(voxels)


def _stage_voxels(stage: "Stage", headers: list[Header]) -> float:
    """Mean voxels of all that a stage sees of a case."""
    voxels = _voxels(stage.geometry, headers)
    if stage.regions is None:
        return voxels
    free = sum(size is None for size in stage.geometry.sizes)
    return stage.regions.count * SHARE_OF_A_REGION**free * voxels


def _parameters(stage: "Stage") -> int:
    import torch

    from renal.learn.networks import build_network

    training = stage.training
    with torch.device("meta"):
        network = build_network(training.network, training.sampler.channels, training.target)
    return sum(parameter.numel() for parameter in network.parameters())


def report(jobs: dict[str, int], pending: set[Path], plan: Plan) -> str:
    """What jobs and pending files cost, as lines to read."""
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
    return "\n".join(lines)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def read_configuration(files: list[Path]) -> dict[str, Any]:
    """config.yaml with some configuration files on top, as Snakemake merges them."""
    from snakemake.utils import update_config

    values: dict[str, Any] = {}
    for path in (Path("config.yaml"), *files):
        update_config(values, read_mapping(path))
    return values


def main() -> int:
    """Print what a run would cost; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m renal.costs", description="What a run will cost."
    )
    parser.add_argument("targets", nargs="*", help="what to make; by default all")
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], help="as for Snakemake")
    a = parser.parse_args()
    files = ["--configfile", *map(str, a.configfile)] if a.configfile else []
    try:
        if visible_gpus():
            refuse_unusable()
        plan = read_plan(read_configuration(a.configfile))
        print(report(*asked([*a.targets, *files]), plan))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
