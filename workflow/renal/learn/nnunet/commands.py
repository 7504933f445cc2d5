"""The steps of nnU-Net's rows: from arguments to the work to do, as in `renal.steps`."""

import argparse
import hashlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Arguments = argparse.Namespace
Work = Callable[[], object]


def write_nnunet_dataset(a: Arguments) -> Work:
    """Write the labelled cases as a data set of nnU-Net, with the folds as its splits."""
    from renal.handover.case_files import usable_with_files
    from renal.handover.named_paths import grouped
    from renal.learn.nnunet.dataset import write_dataset
    from renal.learn.nnunet.settings import Planning

    settings = Planning.model_validate_json(a.settings)

    def work() -> None:
        records = grouped(a.checked)
        folds = {fold: usable_with_files(paths, a.files) for fold, paths in records.items()}
        common = {"labels": a.labels, "threads": a.threads}
        write_dataset(folds, a.output, regions=settings.regions, **common)

    return work


def plan_nnunet(a: Arguments) -> Work:
    """Have nnU-Net look at all labelled cases and plan."""
    from renal.learn.nnunet.settings import Planning

    settings = Planning.model_validate_json(a.settings)
    arguments = {
        "output": a.output,
        "planner": settings.planner,
        "configuration": settings.configuration,
        "changes": settings.changes,
        "threads": a.threads,
    }
    return _on_images(a, "planning.plan", arguments, a.output)


def preprocess_nnunet(a: Arguments) -> Work:
    """Have nnU-Net resample and normalise all labelled cases as planned."""
    arguments = {"planned": a.planned, "configuration": a.output.name, "threads": a.threads}
    return _on_images(a, "preprocessing.preprocess", arguments, a.planned)


def _on_images(a: Arguments, function: str, arguments: dict[str, Any], planned: Path) -> Work:
    """Have nnU-Net run a function that reads the images of the data set."""
    from renal.learn.nnunet.environment import linked_images, run
    from renal.learn.nnunet.layout import LINKED

    def work() -> None:
        with linked_images(a.files, a.dataset) as images:
            folders = {
                LINKED: images,
                "nnUNet_raw": a.dataset.parent,
                "nnUNet_preprocessed": planned.parent,
            }
            run(a.python, function, arguments, a.threads, a.log, folders)

    return work


def train_nnunet(a: Arguments) -> Work:
    """Have nnU-Net train a fold, or go on with it."""
    from renal.cluster.gpus import claim_gpus
    from renal.cluster.slurm import minutes_left
    from renal.handover.seals import sealed_in
    from renal.learn.launch import SECONDS_BEFORE_THE_LIMIT, only_writer
    from renal.learn.nnunet.environment import run
    from renal.learn.nnunet.layout import VERSION
    from renal.learn.nnunet.settings import Learning
    from renal.sources import code_hash

    settings = Learning.model_validate_json(a.settings)
    gpu = claim_gpus() > 0
    minutes = minutes_left() if a.minutes is None else a.minutes
    until = time.time() + 60 * minutes - SECONDS_BEFORE_THE_LIMIT

    def work() -> None:
        (prepared,) = a.prepared
        code = code_hash("learn.nnunet.training")
        decisive = [VERSION, code, a.fold, sealed_in(a.planned), sealed_in(prepared), a.settings]
        identity = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        arguments = settings.model_dump() | {
            "planned": a.planned,
            "configuration": prepared.name,
            "fold": a.fold,
            "output": a.output,
            "identity": identity,
            "name": a.name,
            "until": until if math.isfinite(until) else None,
            "gpu": gpu,
            "threads": a.threads,
        }
        folders = {
            "nnUNet_preprocessed": a.planned.parent,
            "nnUNet_results": a.output.parent,
        }
        a.output.mkdir(parents=True, exist_ok=True)
        with only_writer(a.output):
            run(a.python, "training.train", arguments, a.threads, a.log, folders)

    return work


def predict_nnunet(a: Arguments) -> Work:
    """Have nnU-Net segment cases with the mean of some models."""
    from renal.cluster.gpus import claim_gpus
    from renal.handover.case_files import usable_with_files
    from renal.learn.nnunet.environment import run

    gpu = claim_gpus() > 0

    def work() -> None:
        a.output.mkdir(parents=True, exist_ok=True)
        cases = usable_with_files(a.checked, a.files)
        arguments = {
            "planned": a.planned,
            "models": a.models,
            "images": {case.name: str(Path(case.image).absolute()) for case in cases},
            "output": a.output,
            "gpu": gpu,
            "threads": a.threads,
        }
        if cases:  # those that are only to be segmented may all have a fault
            run(a.python, "prediction.predict", arguments, a.threads, a.log, {})

    return work
