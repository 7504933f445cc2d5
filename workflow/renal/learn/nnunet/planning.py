"""Fingerprint and plans of a data set; runs in nnU-Net's environment."""

import json
from pathlib import Path
from typing import Any

from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
)
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from renal.errors import InputError
from renal.learn.nnunet.layout import PLANS


def plan(
    output: str, planner: str, configuration: str, changes: dict[str, Any], threads: int
) -> None:
    """Have nnU-Net look at all cases and plan; keep one configuration, with changes on top."""
    extract_fingerprints([1], num_processes=threads, show_progress_bar=False)
    plan_experiments([1], planner, overwrite_plans_name=PLANS)
    path = Path(output, f"{PLANS}.json")
    plans = json.loads(path.read_text())
    if configuration not in plans["configurations"]:
        known = ", ".join(plans["configurations"])
        raise InputError(
            f"nnunet.planning.configuration: {configuration} is not planned for these cases: "
            f"choose from {known}"
        )
    chosen = PlansManager(plans).get_configuration(configuration).configuration
    # The folder of preprocessed cases has a name that is known before there are plans.
    chosen = changed(chosen, changes) | {"data_identifier": configuration}
    plans["configurations"] = {configuration: chosen}
    path.write_text(json.dumps(plans, indent=1) + "\n")


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Values with changes on top, key by key through nested mappings."""
    result = dict(values)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            value = changed(below, value)
        result[key] = value
    return result
