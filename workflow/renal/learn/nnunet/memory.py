"""Memory of the host that nnU-Net needs, to be asked of a scheduler, in MB."""

from renal.labels import Labels
from renal.learn.nnunet.settings import Planning

# nnU-Net took up to 16.5 GB to resample one case of KiTS19, in each of its processes.
CASE_MB = 17000
# So many maps that is enough for: background, kidney and tumour.
MAPS = 3
# Each further map is resampled with the others, 8 bytes a voxel of the plan's grid and 4 of the
# CT's: 280 million each in the largest case of KiTS19.
RESAMPLED_MAP_MB = 3500
# In a training, logits, softmax, truth and gradients of two patches of 160x224x192 voxels.
TRAINED_MAP_MB = 400


def maps_of(planning: Planning, labels: Labels) -> int:
    """How many maps its network gives: of the regions, or of the tissues and the background."""
    return len(labels.regions) if planning.regions else len(labels.tissues) + 1


def preparing_memory(threads: int, attempt: int) -> int:
    """MB to look at, or to resample, `threads` cases at once; a label is one map for all values."""
    return CASE_MB * threads * attempt


def training_memory(planning: Planning, labels: Labels, threads: int, attempt: int) -> int:
    """MB for a training, whose threads augment; more does not help after the second attempt."""
    further = max(0, maps_of(planning, labels) - MAPS)
    return (8000 + TRAINED_MAP_MB * further + 2000 * threads) * min(attempt, 2)


def prediction_memory(planning: Planning, labels: Labels, threads: int, attempt: int) -> int:
    """MB to predict `threads` cases at once, whose maps are resampled together."""
    further = max(0, maps_of(planning, labels) - MAPS)
    return (CASE_MB + RESAMPLED_MAP_MB * further) * threads * attempt
