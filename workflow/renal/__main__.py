"""The command line: ``python -m renal <step>``."""

import argparse
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Protocol

from renal import steps
from renal.errors import InputError, Stopped

log = logging.getLogger("renal")


class Step(Protocol):
    """A function of `renal.steps`."""

    __name__: str

    def __call__(self, a: steps.Arguments, /) -> steps.Work:
        """The work to do, from a step's arguments."""


def named(text: str) -> tuple[str, Path]:
    """What stands before and behind the first equals sign."""
    name, sign, path = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"name=path is expected (is {text!r})")
    return name, Path(path)


OPTIONS: dict[str, dict[str, Any]] = {
    "--boxes": {"type": Path, "help": "what crop_body wrote"},
    "--bfloat16-on-cpu": {"action": "store_true", "help": "mixed precision without a GPU"},
    "--checked": {"type": Path, "nargs": "+", "help": "records that validate wrote"},
    "--data": {"type": Path, "help": "KiTS19 folder"},
    "--fold": {"type": int, "help": "number of the fold that held the cases out"},
    "--histories": {"type": Path, "nargs": "+", "help": "history.csv of each fold"},
    "--labelled": {"type": int, "help": "cases with a label"},
    "--listed": {"type": Path, "help": "cases.csv"},
    "--located": {"type": Path, "help": "predictions of the stage that looked at regions"},
    "--maximum-voxels": {"type": int, "help": "largest volume that is read"},
    "--minutes": {"type": float, "help": "stop by itself within this time; default: SLURM's limit"},
    "--models": {"type": Path, "nargs": "+", "help": "model.safetensors to average"},
    "--name": {"help": "method or run that the output belongs to"},
    "--prediction": {"type": Path, "help": "folder that predict wrote"},
    "--predictions": {"type": Path, "help": "folders that predict wrote, by stage"},
    "--prepared": {"type": Path, "nargs": "+", "help": "folders of prepared cases"},
    "--scores": {"type": Path, "help": "scores.csv"},
    "--seed": {"type": int, "help": "decides all that is random"},
    "--segmentations": {"type": Path, "help": "folder of segmentations"},
    "--settings": {"help": "the part of the recipe that the step uses, as JSON"},
    "--size": {"type": int, "help": "rows and columns of a slice"},
    "--source": {"type": Path, "help": "folder that resample wrote"},
    "--tables": {"type": Path, "help": "folder that compare wrote"},
    "--truths": {"type": Path, "help": "prepared folders, by stage"},
    "--unlabelled": {"type": int, "help": "cases without a label"},
    "--weights": {"type": Path, "help": "file of pretrained weights"},
}

# Behind an option ... stands for several, = for several paths with names; one in brackets may be
# left out.
STEPS: dict[Step, str] = {
    steps.phantom: "--labelled --unlabelled --seed --size",
    steps.validate: "--data --maximum-voxels cases",
    steps.check_cases: "--checked",
    steps.check_segmented: "--checked --segmentations...",
    steps.crop_body: "--checked --settings",
    steps.resample: "--checked --settings [--boxes]",
    steps.window_normalize: "--source --settings",
    steps.crop_roi: "--checked --settings [--prediction]",
    steps.download_weights: "--settings",
    steps.train: "--prepared --settings --seed --name [--bfloat16-on-cpu] [--minutes] [--weights]",
    steps.predict: "--prepared --models --settings [--bfloat16-on-cpu]",
    steps.merge: "--checked --predictions= --settings",
    steps.average: "--checked --predictions= --settings",
    steps.vote: "--checked --segmentations= --settings",
    steps.import_segmentations: "--checked --settings",
    steps.evaluate: "--checked --segmentations [--truths]= --settings --name --fold [--located]",
    steps.collect_scores: "--scores...",
    steps.collect_segmentations: "--checked= --segmentations=",
    steps.write_submission: "--checked --segmentations",
    steps.write_tables: "--scores... --settings",
    steps.compare: "--scores... --settings",
    steps.draw_comparison: "--tables --listed",
    steps.draw_overlays: "--checked --scores --segmentations",
    steps.draw_curves: "--histories --name",
    steps.draw_located: "--scores --name",
}


def parser() -> argparse.ArgumentParser:
    """The parser of all steps, built from `STEPS` and `OPTIONS`."""
    top = argparse.ArgumentParser(prog="python -m renal", description=_first_line(__doc__))
    commands = top.add_subparsers(required=True, metavar="step")
    for step, options in STEPS.items():
        description, name = _first_line(step.__doc__), step.__name__
        command = commands.add_parser(name, help=description, description=description)
        command.set_defaults(step=step)
        command.add_argument("--output", type=Path, required=True, help="file or folder to write")
        command.add_argument("--log", type=Path, help="also write what happens to this file")
        command.add_argument("--threads", type=int, default=1, help="cores to use")
        command.add_argument("--debug", action="store_true", help="show where an error arose")
        for option in options.split():
            name = option.strip("[].=")
            settings = dict(OPTIONS.get(name, {"nargs": "+", "help": "names of cases"}))
            if option.endswith("..."):
                settings["nargs"] = "+"
            if option.endswith("="):
                settings |= {"type": named, "nargs": "+", "metavar": "NAME=PATH"}
            if name.startswith("--") and not option.startswith("["):
                settings["required"] = True
            command.add_argument(name, **settings)
    return top


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().splitlines()[0]


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
