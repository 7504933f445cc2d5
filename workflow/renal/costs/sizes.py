"""How large cases are on a stage's grid, estimated from the headers of some."""

import math
from statistics import mean
from typing import TYPE_CHECKING

from renal.image.boxes import extended_box, whole_volume
from renal.image.grids import grid_size
from renal.image.volume import Header, read_header

if TYPE_CHECKING:
    from renal.image.settings import Geometry
    from renal.plan import Plan
    from renal.recipe import Stage

BYTES_OF_A_PARAMETER = 4  # and of what an optimiser keeps for it
# Headers that are read to know the shapes; the other cases are taken to be alike.
SAMPLED = 50
# What a region takes of an axis of the CT whose length the recipe leaves to the kidneys.
SHARE_OF_A_REGION = 0.5
# From the lowest to the highest slice with kidney: the mean of 55 cases of KiTS19 and KiTS23.
KIDNEYS_MM = 127


def sampled_headers(plan: "Plan") -> list[Header]:
    """Headers of some of a plan's cases, evenly from among all."""
    step = math.ceil(len(plan.cases) / SAMPLED)
    return [read_header(case.image) for case in list(plan.cases.values())[::step]]


def grid_over(geometry: "Geometry", header: Header) -> tuple[int, int, int]:
    """Voxels (z, y, x) of a grid over a whole volume, which is what a body's box is taken for."""
    box = whole_volume(header.shape)
    if geometry.extent_mm is not None:
        box = extended_box(header.shape, header.spacing, geometry.extent_mm)
    return grid_size(geometry, box, header.spacing)


def grid_voxels(geometry: "Geometry", headers: list[Header]) -> float:
    """Mean voxels of a grid over whole volumes."""
    return mean(math.prod(grid_over(geometry, header)) for header in headers)


def seen_voxels(stage: "Stage", headers: list[Header]) -> float:
    """Mean voxels of all that a stage sees of a case."""
    voxels = grid_voxels(stage.geometry, headers)
    if stage.regions is None:
        return voxels
    free = sum(size is None for size in stage.geometry.sizes)
    return stage.regions.count * SHARE_OF_A_REGION**free * voxels


def examples_of(stage: "Stage", headers: list[Header]) -> float:
    """Mean number of examples that an epoch has of a case."""
    sampler, regions = stage.training.sampler, stage.regions
    if regions is None:
        return mean(sampler.examples(1, grid_over(stage.geometry, h)) for h in headers)
    found = []
    for header in headers:
        deep, high, wide = grid_over(stage.geometry, header)
        if stage.geometry.sizes[0] is None:
            reached = KIDNEYS_MM + 2 * (regions.margin_mm[0] + regions.jitter_mm[0])
            deep = math.ceil(deep * min(1, reached / (header.shape[0] * header.spacing[0])))
        found.append(sampler.examples(1 if regions.join else regions.count, (deep, high, wide)))
    return mean(found)
