"""nnU-Net's version, and where it looks for its files: folders as its own programs lay them out."""

from pathlib import Path

VERSION = "2.8.1"
DATASET = "Dataset001_renal"
PLANS = "nnUNetPlans"
TRAINER = "nnUNetTrainer"
# Within the folder of a row, what its trainings and predictions are called, as if it were a stage.
STAGE = "nnunet"
ENDING = ".nii.gz"
# nnU-Net takes variables in paths, so that images that are moved change none of its files.
LINKED = "RENAL_LINKED"


def raw_folder(results: Path, planning: str) -> Path:
    """The data set of some settings of planning, which are given by their hash."""
    return results / "planned" / planning / "nnUNet_raw" / DATASET


def planned_folder(results: Path, planning: str) -> Path:
    """Plans, fingerprint and splits; below it the preprocessed cases by configuration."""
    return results / "planned" / planning / "nnUNet_preprocessed" / DATASET
