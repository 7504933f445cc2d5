"""The command line: ``python -m renal <step>``.

Each command imports what its step needs and returns the work to do, so that a step pays for no
other step's libraries and its log can tell the work's own seconds from those of starting.
"""

import argparse
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from renal import recipe
from renal.errors import InputError, Stopped

log = logging.getLogger("renal")

Arguments = argparse.Namespace
Work = Callable[[], object]


def phantom(a: Arguments) -> Work:
    """Write a procedural data set in KiTS19's layout."""
    from renal.phantom import write_phantom

    numbers = {"labelled": a.labelled, "unlabelled": a.unlabelled, "seed": a.seed, "size": a.size}
    return partial(write_phantom, a.output, **numbers, processes=a.threads)


def validate(a: Arguments) -> Work:
    """Read and check every file of some cases."""
    from renal.validation import validate

    return partial(
        validate,
        a.data,
        a.cases,
        a.output,
        maximum_voxels=a.maximum_voxels,
        threads=a.threads,
    )


def check_cases(a: Arguments) -> Work:
    """Index all cases; stop if a labelled one is bad."""
    from renal.collect import check_cases
    from renal.validation import read_checked

    def work() -> None:
        batches = {path.stem: list(read_checked(path).values()) for path in a.checked}
        for fault in check_cases(batches, a.output):
            log.warning("%s: this case will not be segmented", fault)

    return work


def check_segmented(a: Arguments) -> Work:
    """End with an error that lists the cases that could not be segmented."""
    from renal.collect import check_segmented
    from renal.validation import read_checked

    def work() -> None:
        cases = [case for path in a.checked for case in read_checked(path).values()]
        check_segmented(cases, a.segmentations, a.output)

    return work


def crop_body(a: Arguments) -> Work:
    """Find the body's bounding box."""
    from renal.prepare import crop_body
    from renal.validation import usable

    settings = _settings(recipe.Body, a)
    return lambda: crop_body(usable(a.checked), settings, a.output, threads=a.threads)


def resample(a: Arguments) -> Work:
    """Resample whole volumes onto a stage's grid."""
    from renal.prepare import resample
    from renal.validation import usable

    settings = _settings(recipe.Geometry, a)
    return lambda: resample(usable(a.checked), settings, a.output, boxes=a.boxes, threads=a.threads)


def window_normalize(a: Arguments) -> Work:
    """Turn resampled HU into what a network sees."""
    from renal.prepare import window_normalize

    return partial(
        window_normalize, a.source, _settings(recipe.Intensity, a), a.output, threads=a.threads
    )


def crop_roi(a: Arguments) -> Work:
    """Cut out regions of interest: true ones, or with --prediction predicted ones."""
    from renal.inference import native_mask_of
    from renal.prepare import crop_roi, true_mask
    from renal.validation import usable

    settings = _settings(recipe.RegionCrop, a)
    if a.prediction:
        mask_of = partial(native_mask_of, a.prediction)
    else:
        mask_of = partial(true_mask, outer=settings.outer)

    def work() -> None:
        cases = usable(a.checked)
        for name in crop_roi(
            cases, settings, mask_of, a.output, labels=not a.prediction, threads=a.threads
        ):
            log.warning("%s: no kidney was found: its segmentation will be empty", name)

    return work


def download_weights(a: Arguments) -> Work:
    """Fetch pretrained weights and check them."""
    from renal.networks.pretrained import download

    return partial(download, _settings(recipe.Pretrained, a), a.output)


def train(a: Arguments) -> Work:
    """Train a stage on a fold."""
    from renal.distributed import joined, start_processes
    from renal.gpus import claim_gpus
    from renal.slurm import minutes_left
    from renal.training import train

    settings = _settings(recipe.Training, a)
    if not _started_by_torchrun():
        gpus = min(claim_gpus(settings.gpus), settings.gpus)
        if gpus > 1:
            start_processes(gpus)

    def work() -> None:
        with joined():
            train(
                a.prepared,
                settings,
                a.output,
                seed=a.seed,
                threads=a.threads,
                bfloat16_on_cpu=a.bfloat16_on_cpu,
                name=a.name,
                minutes=minutes_left() if a.minutes is None else a.minutes,
                weights=a.weights,
            )

    return work


def predict(a: Arguments) -> Work:
    """Apply the mean of some models to prepared cases."""
    import torch  # noqa: F401  (its import is not the step's work)

    from renal.gpus import claim_gpus
    from renal.inference import predict

    claim_gpus()

    return partial(
        predict,
        a.prepared,
        a.models,
        _settings(recipe.Prediction, a),
        a.output,
        threads=a.threads,
        bfloat16_on_cpu=a.bfloat16_on_cpu,
    )


def merge(a: Arguments) -> Work:
    """Merge the stages' probabilities into segmentations."""
    from renal.merge import merge
    from renal.validation import usable

    method = _settings(recipe.Merging, a)
    folders = iter(a.predictions)
    predictions = {
        name: list(islice(folders, stage.members)) for name, stage in method.stages.items()
    }
    return lambda: merge(usable(a.checked), predictions, method, a.output, threads=a.threads)


def evaluate(a: Arguments) -> Work:
    """Score segmentations of labelled cases."""
    from renal.evaluation import evaluate
    from renal.validation import usable

    method = _settings(recipe.Merging, a)
    stages = list(dict.fromkeys([*method.stages, method.grid]))
    share = len(a.truths) // len(stages)
    truths = {
        stage: a.truths[number * share : (number + 1) * share]
        for number, stage in enumerate(stages)
    }
    return lambda: evaluate(
        usable(a.checked),
        a.segmentations,
        truths,
        method,
        a.output,
        name=a.name,
        fold=a.fold,
        located=a.located,
        threads=a.threads,
    )


def collect_scores(a: Arguments) -> Work:
    """Join the folds' scores."""
    from renal.collect import collect_scores

    return partial(collect_scores, a.scores, a.output)


def collect_segmentations(a: Arguments) -> Work:
    """Copy all segmentations of a method into one folder."""
    from renal.collect import collect_segmentations
    from renal.validation import usable

    def work() -> None:
        groups: dict[Path, list[Path]] = {}
        for path in a.checked:
            groups.setdefault(_folder_of(path.stem, a.segmentations), []).append(path)
        collect_segmentations({folder: usable(paths) for folder, paths in groups.items()}, a.output)

    return work


def _folder_of(batch: str, folders: list[Path]) -> Path:
    """The folder among those of groups that holds a batch: named like it, or like its fold."""
    return next(f for f in folders if f.name in (batch, batch.partition("-")[0]))


def write_submission(a: Arguments) -> Work:
    """Name and zip the unlabelled cases' segmentations as the challenge wants them."""
    from renal.collect import write_submission
    from renal.validation import usable

    def work() -> None:
        names = [case.name for case in usable(a.checked)]
        write_submission(a.segmentations, names, a.output)

    return work


def write_tables(a: Arguments) -> Work:
    """Write the cross-validation tables."""
    from renal.tables import write_tables

    methods = {
        name: recipe.Row.model_validate(value) for name, value in json.loads(a.settings).items()
    }
    return partial(write_tables, a.scores, methods, a.output)


def draw_overlays(a: Arguments) -> Work:
    """Draw the best, median and worst case."""
    from renal.figures import draw_overlays
    from renal.validation import usable

    def work() -> None:
        cases = {case.name: case for case in usable(a.checked)}
        draw_overlays(a.scores, a.segmentations, cases, a.output)

    return work


def draw_curves(a: Arguments) -> Work:
    """Draw the training curves of a stage."""
    from renal.figures import draw_curves

    histories = {path.parent.name: path for path in a.histories}
    return partial(draw_curves, histories, a.name, a.output)


def draw_located(a: Arguments) -> Work:
    """Draw how much of kidney and tumour the located regions hold."""
    from renal.figures import draw_located

    return partial(draw_located, a.scores, a.name, a.output)


def draw_rule_graph(a: Arguments) -> Work:
    """Draw the graph of the rules."""
    from renal.figures import draw_rule_graph

    return partial(draw_rule_graph, a.snakefile, a.methods, a.folds, a.output)


def _started_by_torchrun() -> bool:
    return "RANK" in os.environ


def _settings(model: type[recipe.BaseModel], a: Arguments) -> Any:
    try:
        return model.model_validate_json(a.settings)
    except recipe.ValidationError as error:
        raise InputError(f"--settings: {' '.join(str(error).split())}") from error


OPTIONS = {
    "--boxes": {"type": Path, "help": "what crop_body wrote"},
    "--bfloat16-on-cpu": {"action": "store_true", "help": "mixed precision without a GPU"},
    "--checked": {"type": Path, "nargs": "+", "help": "records that validate wrote"},
    "--data": {"type": Path, "help": "KiTS19 folder"},
    "--fold": {"type": int, "help": "number of the fold that held the cases out"},
    "--folds": {"type": int, "help": "number of folds"},
    "--histories": {"type": Path, "nargs": "+", "help": "history.csv of each fold"},
    "--labelled": {"type": int, "help": "cases with a label"},
    "--located": {"type": Path, "help": "predictions of the stage that looked at regions"},
    "--maximum-voxels": {"type": int, "help": "largest volume that is read"},
    "--methods": {"nargs": "+", "help": "names of recipes"},
    "--minutes": {"type": float, "help": "stop by itself within this time; default: SLURM's limit"},
    "--models": {"type": Path, "nargs": "+", "help": "model.safetensors to average"},
    "--name": {"help": "method or run that the output belongs to"},
    "--prediction": {"type": Path, "help": "folder that predict wrote"},
    "--predictions": {"type": Path, "nargs": "+", "help": "folders that predict wrote, by stage"},
    "--prepared": {"type": Path, "nargs": "+", "help": "folders of prepared cases"},
    "--scores": {"type": Path, "help": "scores.csv"},
    "--seed": {"type": int, "help": "decides all that is random"},
    "--segmentations": {"type": Path, "help": "folder of segmentations"},
    "--settings": {"help": "the part of the recipe that the step uses, as JSON"},
    "--size": {"type": int, "help": "rows and columns of a slice"},
    "--snakefile": {"type": Path, "help": "the workflow"},
    "--source": {"type": Path, "help": "folder that resample wrote"},
    "--truths": {"type": Path, "nargs": "+", "help": "prepared folders, by stage"},
    "--unlabelled": {"type": int, "help": "cases without a label"},
    "--weights": {"type": Path, "help": "file of pretrained weights"},
}

STEPS: dict[Callable[[Arguments], Work], str] = {
    phantom: "--labelled --unlabelled --seed --size",
    validate: "--data --maximum-voxels cases",
    check_cases: "--checked",
    check_segmented: "--checked --segmentations...",
    crop_body: "--checked --settings",
    resample: "--checked --settings [--boxes]",
    window_normalize: "--source --settings",
    crop_roi: "--checked --settings [--prediction]",
    download_weights: "--settings",
    train: "--prepared --settings --seed --name [--bfloat16-on-cpu] [--minutes] [--weights]",
    predict: "--prepared --models --settings [--bfloat16-on-cpu]",
    merge: "--checked --predictions --settings",
    evaluate: "--checked --segmentations --truths --settings --name --fold [--located]",
    collect_scores: "--scores...",
    collect_segmentations: "--checked --segmentations...",
    write_submission: "--checked --segmentations",
    write_tables: "--scores... --settings",
    draw_overlays: "--checked --scores --segmentations",
    draw_curves: "--histories --name",
    draw_located: "--scores --name",
    draw_rule_graph: "--snakefile --methods --folds",
}


def parser() -> argparse.ArgumentParser:
    """The parser of all steps, built from `STEPS` and `OPTIONS`."""
    top = argparse.ArgumentParser(prog="python -m renal", description=__doc__.splitlines()[0])
    steps = top.add_subparsers(required=True, metavar="step")
    for step, options in STEPS.items():
        description = step.__doc__.strip()
        command = steps.add_parser(step.__name__, help=description, description=description)
        command.set_defaults(step=step)
        command.add_argument("--output", type=Path, required=True, help="file or folder to write")
        command.add_argument("--log", type=Path, help="also write what happens to this file")
        command.add_argument("--threads", type=int, default=1, help="cores to use")
        command.add_argument("--debug", action="store_true", help="show where an error arose")
        for option in options.split():
            name = option.strip("[].")
            settings = dict(OPTIONS.get(name, {"nargs": "+", "help": "names of cases"}))
            if option.endswith("..."):
                settings["nargs"] = "+"
            if name.startswith("--") and not option.startswith("["):
                settings["required"] = True
            command.add_argument(name, **settings)
    return top


def main() -> int:
    """Run one step; returns the exit status."""
    a = parser().parse_args()
    if os.environ.get("RANK", "0") == "0":
        _start_log(a.log)
    else:  # the first of several processes speaks for all
        a.log = None
        log.addHandler(logging.NullHandler())
    try:
        work = a.step(a)
        started = time.monotonic()
        work()
    except Stopped as error:
        log.info("%s", error)
        return 1
    except KeyboardInterrupt:
        log.error("interrupted")
        return 130
    except InputError as error:
        log.error("error: %s", error)
        if a.debug:
            traceback.print_exc()
        return 1
    except Exception as error:
        where = f"see {a.log}" if a.log else "--debug shows where"
        log.error("internal error: %s: %s (%s)", type(error).__name__, error, where)
        _to_log_file(a.log, traceback.format_exc())
        if a.debug:
            traceback.print_exc()
        return 1
    _to_log_file(a.log, f"finished after {time.monotonic() - started:.2f} s of work\n")
    return 0


def _start_log(path: Path | None) -> None:
    """Plain lines on the terminal; the same with the time in the log file."""
    log.setLevel(logging.INFO)
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(terminal)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = logging.FileHandler(path)
        stored.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(stored)


def _to_log_file(path: Path | None, text: str) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)


if __name__ == "__main__":
    sys.exit(main())
