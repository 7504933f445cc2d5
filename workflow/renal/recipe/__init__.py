"""Recipes and configuration: typed, and checked before anything runs.

A step receives only the part of a recipe that it uses, so that a change re-runs the steps it
concerns and no others.
"""

from renal.recipe.checks import check_precision, check_sizes
from renal.recipe.configuration import Configuration, check_configuration
from renal.recipe.method import Method, Stage
from renal.recipe.parts import (
    external_files,
    imported,
    merging,
    owners_of,
    prediction,
    region_crop,
    row,
    sized,
    stage_of,
    true_folder,
    true_region_crop,
)
from renal.recipe.reading import METHODS, load_method, load_methods, merged, read_values
from renal.recipe.rows import averaging, models_of, voting
from renal.recipe.schemes import label_options

__all__ = [
    "METHODS",
    "Configuration",
    "Method",
    "Stage",
    "averaging",
    "check_configuration",
    "check_precision",
    "check_sizes",
    "external_files",
    "imported",
    "label_options",
    "load_method",
    "load_methods",
    "merged",
    "merging",
    "models_of",
    "owners_of",
    "prediction",
    "read_values",
    "region_crop",
    "row",
    "sized",
    "stage_of",
    "true_folder",
    "true_region_crop",
    "voting",
]
