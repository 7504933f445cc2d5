"""The steps of the command line: from arguments to the work to do.

Each imports what it needs itself, so that a step pays for no other step's libraries, and returns
its work, so that a log can tell the work's own seconds from those of starting.
"""

import argparse
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from renal.errors import InputError
from renal.handover.named_paths import grouped, of_all

if TYPE_CHECKING:
    from renal.handover.checked import CheckedCase
    from renal.prepare.crop_roi import MaskSource

log = logging.getLogger("renal")

Arguments = argparse.Namespace
Work = Callable[[], object]
Model = TypeVar("Model", bound=BaseModel)


def check_segmented(a: Arguments) -> Work:
    """End with an error that lists the cases that could not be segmented."""
    from renal.evaluate.collect import check_segmented
    from renal.handover.checked import read_checked

    def work() -> None:
        cases = [case for path in a.checked for case in read_checked(path).values()]
        check_segmented(cases, a.segmentations, a.output)

    return work


def crop_body(a: Arguments) -> Work:
    """Find the body's bounding box."""
    from renal.image.settings import Body
    from renal.prepare.crop_body import crop_body

    settings = _settings(Body, a)
    return lambda: crop_body(_cases(a), settings, a.output, threads=a.threads)


def resample(a: Arguments) -> Work:
    """Resample whole volumes onto a stage's grid."""
    from renal.image.settings import Geometry
    from renal.prepare.resample import resample

    settings, more = _settings(Geometry, a), _common(a) | {"boxes": a.boxes}
    return lambda: resample(_cases(a), settings, a.output, **more)


def window_normalize(a: Arguments) -> Work:
    """Turn resampled HU into what a network sees."""
    from renal.prepare.settings import Intensity
    from renal.prepare.window_normalize import window_normalize

    return partial(window_normalize, a.source, _settings(Intensity, a), a.output, threads=a.threads)


def crop_roi(a: Arguments) -> Work:
    """Cut out regions of interest: true ones, or with --prediction predicted ones."""
    from renal.handover.predictions import native_mask_of
    from renal.prepare.crop_roi import crop_roi, true_mask
    from renal.prepare.settings import RegionCrop

    settings = _settings(RegionCrop, a)
    if a.prediction:
        mask_of: MaskSource = partial(native_mask_of, a.prediction)
    else:
        mask_of = partial(true_mask, outer=settings.outer, labels=a.labels)

    def work() -> None:
        cases = _cases(a)
        common = _common(a) | ({"labels": None} if a.prediction else {})
        for name in crop_roi(cases, settings, mask_of, a.output, **common):
            log.warning("%s: nothing was found: its segmentation will be empty", name)

    return work


def download_weights(a: Arguments) -> Work:
    """Fetch pretrained weights and check them."""
    from renal.learn.networks.base_settings import Pretrained
    from renal.learn.pretrained import download

    return partial(download, _settings(Pretrained, a), a.output)


def train(a: Arguments) -> Work:
    """Train a stage on a fold."""
    from renal.cluster.gpus import bfloat16_on_cpu, claim_gpus
    from renal.cluster.processes import started_by_torchrun
    from renal.cluster.slurm import minutes_left
    from renal.learn.collapse import end_if_collapsed
    from renal.learn.denormals import denormals_as_zero
    from renal.learn.launch import joined, only_writer, start_processes, stop_signal
    from renal.learn.memory import TRAINING, GpuMemory
    from renal.learn.pretrained import load_pretrained
    from renal.learn.results import write_results
    from renal.learn.settings import Training
    from renal.learn.training import train
    from renal.parallel import telling_of_memory
    from renal.sources import code_hash, training_components

    settings = _settings(Training, a)
    weights = settings.network.weights
    if (a.weights is None) != (weights is None):
        begins = f"with {weights.file}: give that file" if weights else "fresh: leave it out"
        raise InputError(f"--weights: {settings.network.name} begins {begins}")
    pretrain = partial(load_pretrained, path=a.weights, settings=weights) if weights else None
    if not started_by_torchrun():
        gpus = min(claim_gpus(settings.gpus), settings.gpus)
        if gpus > 1:
            start_processes(gpus)

    def work() -> None:
        minutes = minutes_left() if a.minutes is None else a.minutes
        told = telling_of_memory(a.name, TRAINING)
        alone = only_writer(a.output)
        with joined(), alone, stop_signal(minutes) as stop, told, denormals_as_zero():
            train(
                a.prepared,
                settings,
                a.output,
                seed=a.seed,
                threads=a.threads,
                bfloat16_on_cpu=bfloat16_on_cpu(a.bfloat16_on_cpu),
                name=a.name,
                stop=stop,
                pretrain=pretrain,
                write=write_results,
                memory=GpuMemory,
                watch=end_if_collapsed,
                code=code_hash("learn.training", *training_components(settings)),
                labels=a.labels,
            )

    return work


def predict(a: Arguments) -> Work:
    """Apply the mean of some models to prepared cases."""
    import torch  # noqa: F401  (its import is not the step's work)

    from renal.cluster.gpus import bfloat16_on_cpu, claim_gpus
    from renal.learn.prediction import predict
    from renal.learn.settings import Prediction

    claim_gpus()

    return partial(
        predict,
        a.prepared,
        a.models,
        _settings(Prediction, a),
        a.output,
        threads=a.threads,
        bfloat16_on_cpu=bfloat16_on_cpu(a.bfloat16_on_cpu),
        labels=a.labels,
    )


def seal(a: Arguments) -> Work:
    """Vouch for a file or folder that no step wrote, or that was changed on purpose."""
    from renal.handover.seals import write_seal

    return partial(write_seal, a.output)


def merge(a: Arguments) -> Work:
    """Merge the stages' probabilities into segmentations."""
    from renal.evaluate.merge import merge
    from renal.evaluate.settings import Merging

    settings = _settings(Merging, a)
    return lambda: merge(
        _cases(a),
        of_all("--predictions", grouped(a.predictions), settings.stages),
        settings,
        a.output,
        **_common(a),
    )


def average(a: Arguments) -> Work:
    """Average several rows' probabilities into segmentations."""
    from renal.evaluate.average import average
    from renal.evaluate.settings import Averaging

    settings = _settings(Averaging, a)
    return lambda: average(
        _cases(a),
        grouped(a.predictions),
        settings,
        a.output,
        **_common(a),
    )


def vote(a: Arguments) -> Work:
    """Let several rows' segmentations vote."""
    from renal.evaluate.settings import Voting
    from renal.evaluate.vote import vote

    settings = _settings(Voting, a)
    return lambda: vote(
        _cases(a),
        dict(a.segmentations),
        settings,
        a.output,
        **_common(a),
    )


def import_segmentations(a: Arguments) -> Work:
    """Take over the segmentations of another program."""
    from renal.data.label_checks import check_place
    from renal.evaluate.external import import_segmentations
    from renal.evaluate.settings import External

    settings = _settings(External, a)
    if a.segmentations:
        settings = settings.model_copy(update={"folder": a.segmentations})
    return lambda: import_segmentations(
        _cases(a),
        settings,
        a.output,
        check_place=check_place,
        **_common(a),
    )


def evaluate(a: Arguments) -> Work:
    """Score segmentations of labelled cases."""
    from renal.evaluate.evaluation import evaluate
    from renal.evaluate.settings import Merging

    settings = _settings(Merging, a)
    return lambda: evaluate(
        _cases(a),
        a.segmentations,
        of_all(
            "--truths",
            grouped(a.truths or []),
            [*settings.stages, settings.grid] if settings.grid else [],
        ),
        settings,
        a.output,
        name=a.name,
        fold=a.fold,
        located=a.located,
        predictions=grouped(a.predictions or []),
        **_common(a),
    )


def score_annotators(a: Arguments) -> Work:
    """Score annotators of the same cases among themselves."""
    from renal.data.instances import readings_of
    from renal.data.label_checks import check_place
    from renal.evaluate.annotators import score_annotators

    return lambda: score_annotators(
        _cases(a),
        readings_of,
        a.output,
        check_place=check_place,
        **_common(a),
    )


def collect_scores(a: Arguments) -> Work:
    """Join the folds' scores."""
    from renal.evaluate.collect import collect_scores
    from renal.handover.checked import usable

    def work() -> None:
        cases = [case.name for case in usable(a.checked)] if a.checked else None
        collect_scores(a.scores, a.output, cases)

    return work


def collect_segmentations(a: Arguments) -> Work:
    """Copy all segmentations of a method into one folder."""
    from renal.evaluate.collect import collect_segmentations
    from renal.evaluate.corrections import set_aside
    from renal.handover.checked import usable

    def work() -> None:
        records = grouped(a.checked)
        folders = of_all("--segmentations", dict(a.segmentations), records)
        groups = {folders[group]: usable(paths) for group, paths in records.items()}
        set_aside(a.output, list(groups), a.output.with_name("corrected"))
        collect_segmentations(groups, a.output)

    return work


def write_submission(a: Arguments) -> Work:
    """Name and zip the unlabelled cases' segmentations as the challenge wants them."""
    from renal.evaluate.collect import write_submission
    from renal.handover.checked import usable

    def work() -> None:
        names = [case.name for case in usable(a.checked)]
        write_submission(a.segmentations, names, a.output)

    return work


def compare(a: Arguments) -> Work:
    """Compare rows: paired differences, intervals, tests and ranks."""
    from renal.evaluate.comparison import compare
    from renal.report.comparison import write_comparison
    from renal.report.settings import Comparison

    settings = _settings(Comparison, a)
    return lambda: write_comparison(
        compare(a.scores, settings.models, a.labels), settings.rows, a.output, a.labels
    )


def tensorboard(a: Arguments) -> Work:
    """Write finished and running trainings as event files for TensorBoard."""
    from renal.learn.histories import find_histories
    from renal.report.events import write_events

    return lambda: write_events(find_histories(a.results), a.output)


def _cases(a: Arguments) -> list["CheckedCase"]:
    from renal.handover.case_files import usable_with_files

    return usable_with_files(a.checked, a.files)


def _common(a: Arguments) -> dict[str, Any]:
    """What most steps take: the scheme of labels, and how many cases at a time."""
    return {"labels": a.labels, "threads": a.threads}


def _settings(model: type[Model], a: Arguments) -> Model:
    return model.model_validate_json(a.settings)
