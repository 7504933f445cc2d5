"""Disk that a finished run needs, from the grids of the recipes and the shapes of the images."""

import math
import operator
from statistics import mean
from typing import TYPE_CHECKING

from renal.costs.sizes import BYTES_OF_A_PARAMETER, grid_voxels, sampled_headers, seen_voxels

if TYPE_CHECKING:
    from renal.plan import Plan
    from renal.recipe import Stage

# Bytes a voxel: image and label, of which the grids of whole volumes are kept before and after
# normalisation; probabilities of one map, and a label map, compressed, as measured.
PREPARED, FOUND, PREDICTED, SEGMENTED = 3, 2, 0.1, 0.005
# A folder of segmentations by fold, and the one of the method.
SEGMENTATIONS_OF_A_METHOD = 2


def disk_use(plan: "Plan") -> dict[str, float]:
    """Bytes that a finished run needs, by what they are.

    Grids that methods share are counted once, as they are made once.
    """
    cases = len(plan.cases)
    headers = sampled_headers(plan)
    stages = [stage for method in plan.recipes.values() for stage in method.stages.values()]
    whole = [stage for stage in stages if stage.regions is None]
    crops = {(s.geometry, s.intensity, s.regions): s for s in stages if s.regions is not None}
    resampled = sum(grid_voxels(grid, headers) for grid in {stage.geometry for stage in whole})
    images = {(stage.geometry, stage.intensity) for stage in whole}
    normalized = sum(grid_voxels(grid, headers) for grid, _ in images)
    regions = sum(seen_voxels(stage, headers) for stage in crops.values())
    predicted = sum(seen_voxels(stage, headers) for stage in stages)
    native = mean(math.prod(header.shape) for header in headers)
    models = [_parameters(stage) * BYTES_OF_A_PARAMETER * len(plan.held_out) for stage in stages]
    # A running state holds the model, and what the optimiser keeps for each parameter.
    copies = [1 + stage.training.optimizer.states for stage in stages]
    segmentations = SEGMENTATIONS_OF_A_METHOD * len(plan.methods)
    return {
        "resampled and normalised": (resampled + normalized) * cases * PREPARED,
        # True ones to learn from, and images of those that the earlier stage found.
        "regions": regions * cases * (PREPARED + FOUND),
        "predictions": predicted * cases * PREDICTED,
        "segmentations": native * cases * SEGMENTED * segmentations,
        "models": sum(models),
        "running states, until trained": sum(map(operator.mul, models, copies)),
    }


def _parameters(stage: "Stage") -> int:
    import torch

    from renal.learn.networks import build_network

    training = stage.training
    with torch.device("meta"):
        network = build_network(training.network, training.sampler.channels, training.target)
    return sum(parameter.numel() for parameter in network.parameters())
