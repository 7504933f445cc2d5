"""The command line: ``python -m renal <step>``."""

import sys

# `python -m` has the working folder before the libraries: a random.py there would be theirs.
if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.append(sys.path.pop(0))

import argparse
import atexit
import gc
import logging
import os
import time
import traceback
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from renal import sources, steps
from renal.apply import commands as applying
from renal.cluster import commands as machines
from renal.cluster.processes import end, end_orderly, end_with_parent, speaks_for_all
from renal.data import commands as about_data
from renal.errors import InputError, Stopped
from renal.handover.seals import check_seal, write_seal
from renal.labels import KITS19
from renal.learn.nnunet import commands as nnunet
from renal.report import commands as reports

log = logging.getLogger("renal")


class Step(Protocol):
    """A function of `renal.steps`, or of the `commands` of a room."""

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
    "--annotators": {"type": Path, "help": "what score_annotators wrote"},
    "--boxes": {"type": Path, "help": "what crop_body wrote"},
    "--bfloat16-on-cpu": {"action": "store_true", "help": "mixed precision without a GPU"},
    "--cases": {"help": "names of cases"},
    "--checked": {"type": Path, "nargs": "+", "help": "records that validate wrote"},
    "--data": {"type": Path, "help": "folder of the data set"},
    "--dataset": {"type": Path, "help": "folder that write_nnunet_dataset wrote"},
    "--files": {"type": Path, "help": "files.json of a run: where the files of each case lie"},
    "--fold": {"type": applying.number(0), "help": "fold that held the cases out; not for tests"},
    "--histories": {"type": Path, "nargs": "+", "help": "history.csv of each fold"},
    "--labels": {"type": applying.scheme, "default": KITS19, "help": "label scheme"},
    "--labelled": {"type": applying.number(0), "help": "cases with a label"},
    "--listed": {"type": Path, "help": "cases.csv"},
    "--located": {"type": Path, "help": "predictions of the stage that looked at regions"},
    "--maximum-voxels": {"type": applying.number(1), "help": "largest volume that is read"},
    "--minutes": {
        "type": applying.number(0, kind=float),
        "help": "stop by itself within this time; default: SLURM's limit",
    },
    "--models": {"type": Path, "nargs": "+", "help": "model.safetensors to average"},
    "--name": {"help": "method or run that the output belongs to"},
    "--planned": {"type": Path, "help": "folder that plan_nnunet wrote"},
    "--pictures": {"type": Path, "nargs": "*", "help": "PNG files to show"},
    "--prediction": {"type": Path, "help": "folder that predict wrote"},
    "--predictions": {"type": Path, "help": "folders that predict wrote, by stage"},
    "--prepared": {"type": Path, "nargs": "+", "help": "folders of prepared cases"},
    "--python": {"type": Path, "help": "the Python of nnU-Net's environment"},
    "--results": {"type": Path, "help": "folder of results"},
    "--scores": {"type": Path, "help": "scores.csv"},
    "--seed": {"type": applying.number(0, 2**32), "help": "decides all that is random"},
    "--segmentations": {"type": Path, "help": "folder of segmentations"},
    "--settings": {"help": "the part of the recipe that the step uses, as JSON"},
    "--size": {"type": applying.number(32, 4097), "help": "rows and columns of a slice"},
    "--source": {"type": Path, "help": "folder that resample wrote"},
    "--tables": {"type": Path, "help": "folder that compare wrote"},
    "--truths": {"type": Path, "help": "prepared folders, by stage"},
    "--unlabelled": {"type": applying.number(0), "help": "cases without a label"},
    "--weights": {"type": Path, "help": "file of pretrained weights"},
}

# Options that name a folder that another step wrote; all other paths of steps are files.
FOLDERS = {
    "dataset",
    "located",
    "planned",
    "prediction",
    "predictions",
    "prepared",
    "results",
    "segmentations",
    "source",
    "tables",
    "truths",
}
# What a user brings has its own words where it is missing.
UNCHECKED = {"data", "log", "output", "python", "weights"}

# Behind an option ... stands for several, = for several paths with names; one in brackets may be
# left out.
STEPS: dict[Step, str] = {
    about_data.phantom: "--labelled --unlabelled --seed --size [--labels]",
    about_data.validate: "--data --files --cases... --maximum-voxels [--labels]",
    about_data.list_cases: "--data --checked [--labels]",
    about_data.check_cases: "--data --checked",
    steps.check_segmented: "--checked --segmentations...",
    steps.crop_body: "--files --checked --settings",
    steps.resample: "--files --checked --settings [--boxes] [--labels]",
    steps.window_normalize: "--source --settings",
    steps.crop_roi: "--files --checked --settings [--prediction] [--labels]",
    steps.download_weights: "--settings",
    steps.seal: "",
    steps.train: "--prepared --settings --seed --name [--bfloat16-on-cpu] [--minutes] [--weights]"
    " [--labels]",
    steps.predict: "--prepared --models --settings [--bfloat16-on-cpu] [--labels]",
    steps.merge: "--files --checked --predictions= --settings [--labels]",
    steps.average: "--files --checked --predictions= --settings [--labels]",
    steps.vote: "--files --checked --segmentations= --settings [--labels]",
    steps.import_segmentations: "--files --checked --settings [--segmentations] [--labels]",
    nnunet.write_nnunet_dataset: "--files --checked= --settings [--labels]",
    nnunet.plan_nnunet: "--files --dataset --settings --python",
    nnunet.preprocess_nnunet: "--files --dataset --planned --python",
    nnunet.train_nnunet: "--planned --prepared --settings --fold --name [--minutes] --python",
    nnunet.predict_nnunet: "--files --checked --planned --models --python",
    steps.evaluate: "--files --checked --segmentations [--truths]= --settings --name [--fold]"
    " [--located] [--predictions]= [--labels]",
    steps.score_annotators: "--files --checked [--labels]",
    steps.collect_scores: "--scores... [--checked]",
    steps.collect_segmentations: "--checked= --segmentations=",
    steps.write_submission: "--checked --segmentations",
    reports.write_tables: "--scores... --settings [--annotators] [--labels]",
    reports.write_test_tables: "--scores... --settings [--annotators] [--labels]",
    steps.compare: "--scores... --settings [--labels]",
    reports.draw_comparison: "--tables --listed [--labels]",
    reports.draw_gallery: "--files --checked --scores= --segmentations= [--labels]",
    reports.draw_overlays: "--files --checked --scores --segmentations [--labels]",
    reports.draw_curves: "--histories --name",
    reports.draw_located: "--scores --name [--labels]",
    reports.write_page: "--files --checked --scores= --segmentations= --settings --tables"
    " --pictures [--labels]",
    steps.tensorboard: "--results",
}

# All other paths are what a step wrote, which is compared with its seal before it is used.
NOT_OF_STEPS = {"data", "listed", "log", "output", "pictures"} | {
    *("python", "results", "tables", "weights"),
}
# Of all others the output is sealed for the steps that read it.
READ_BY_PEOPLE = (
    about_data.phantom,
    about_data.list_cases,
    about_data.check_cases,
    steps.check_segmented,
    steps.download_weights,
    steps.seal,
    steps.write_submission,
    reports.write_tables,
    reports.write_test_tables,
    steps.compare,
    reports.draw_comparison,
    reports.draw_gallery,
    reports.draw_overlays,
    reports.draw_curves,
    reports.draw_located,
    reports.write_page,
    steps.tensorboard,
)


def parser() -> argparse.ArgumentParser:
    """The parser of all steps, built from `STEPS` and `OPTIONS`."""
    top = argparse.ArgumentParser(prog="python -m renal", description=_first_line(__doc__))
    top.add_argument("--version", action=_Version, nargs=0, help="tell version and commit")
    commands = top.add_subparsers(required=True, metavar="step")
    for step, options in STEPS.items():
        description, name = _first_line(step.__doc__), step.__name__
        command = commands.add_parser(name, help=description, description=description)
        command.set_defaults(step=step)
        command.add_argument("--output", type=Path, required=True, help="file or folder to write")
        command.add_argument("--threads", type=applying.number(1), default=1, help="cores to use")
        _add_shared(command)
        for option in options.split():
            name = option.strip("[].=")
            settings = dict(OPTIONS[name])
            if option.endswith("..."):
                settings["nargs"] = "+"
            if option.endswith("="):
                settings |= {"type": named, "nargs": "+", "metavar": "NAME=PATH"}
            if not option.startswith("["):
                settings["required"] = True
            command.add_argument(name, **settings)

    def add(function: Step) -> argparse.ArgumentParser:
        description = _first_line(function.__doc__)
        added = commands.add_parser(function.__name__, help=description, description=description)
        added.set_defaults(step=function)
        _add_shared(added)
        return added

    for commands_of in (about_data, applying, machines):
        commands_of.add_commands(add)
    for program in (run, machines.costs):
        description, name = _first_line(program.__doc__), program.__name__
        # No argument begins with this sign: all of them are the other program's, --help included.
        other = commands.add_parser(name, help=description, prefix_chars="\0", add_help=False)
        other.add_argument("arguments", nargs=argparse.REMAINDER)
        other.set_defaults(step=program, log=None, debug=False)
    return top


def run(a: steps.Arguments) -> steps.Work:
    """Run the workflow in this folder; all arguments go to Snakemake."""
    from renal.recipe.strict_yaml import read_mapping

    command = machines.snakemake_command(a.arguments)
    # Snakemake merges configurations, without end where they hold themselves, before it reads the
    # rules, which look at them otherwise.
    configurations, profiles = machines.files_of_arguments(command[3:], sources.ROOT)
    for file in [*configurations, *profiles]:
        read_mapping(file)
    # Nodes of a cluster have the same environment.
    return lambda: os.execve(command[0], command, machines.safe_environment())


class _Version(argparse.Action):
    """Tells the version; git is not asked before."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print("renal", sources.version())
        parser.exit()


def _add_shared(command: argparse.ArgumentParser) -> None:
    command.add_argument("--log", type=Path, help="also write what happens to this file")
    command.add_argument("--debug", action="store_true", help="show where an error arose")


def _first_line(docstring: str | None) -> str:
    """The first line of a docstring; nothing under `python -OO`, which leaves docstrings out."""
    return (docstring or "").strip().partition("\n")[0]


def main() -> int:
    """Run one step; returns the exit status."""
    a = parser().parse_args()
    first = speaks_for_all()
    try:
        _start_log(a.log)
    except OSError as error:
        log.error("error: %s", _told(error))
        return 1
    try:
        of_workflow = a.step in STEPS
        if of_workflow:
            check_inputs(a)
        end_orderly()
        end_with_parent()
        work = prepared(a)
        started = time.monotonic()
        for path in handed_over(a) if of_workflow else ():
            check_seal(path)
        work()
        if of_workflow and first and a.step not in READ_BY_PEOPLE:
            write_seal(a.output)
    except Stopped as error:
        log.info("%s", error)
        return 1
    except KeyboardInterrupt:
        log.log(logging.ERROR if first else logging.INFO, "interrupted")
        return 130
    except InputError as error:
        # Input all processes meet, a fault of the machine perhaps one alone.
        alone = isinstance(error.__cause__, MemoryError | OSError | RuntimeError)
        log.log(logging.ERROR if first or alone else logging.INFO, "error: %s", error)
        if a.debug:
            traceback.print_exc()
        return 1
    except OSError as error:
        log.error("error: %s", _told(error))
        _to_log_file(a.log, traceback.format_exc())
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
    if first:
        _to_log_file(a.log, f"finished after {time.monotonic() - started:.2f} s of work\n")
    return 0


def prepared(a: steps.Arguments) -> steps.Work:
    """The work of a step; an InputError if its settings are not those that it takes.

    Loading its libraries makes a million objects that live until the end: no garbage collection
    looks at them, which saves a third of the time that torch takes to load.
    """
    gc.disable()
    try:
        work: steps.Work = a.step(a)
    except ValidationError as error:
        raise InputError(f"--settings: {' '.join(str(error).split())}") from error
    finally:
        gc.freeze()
        gc.enable()
    return work


def handed_over(a: steps.Arguments) -> list[Path]:
    """The files and folders among a step's arguments that another step wrote."""
    given = [value for option, value in vars(a).items() if option not in NOT_OF_STEPS]
    return [path for value in given for path in _paths_in(value)]


def check_inputs(a: steps.Arguments) -> None:
    """Refuse paths that are not there, or a file for a folder, before anything is read.

    Raises
    ------
    InputError
        With the first of them.
    """
    for option, value in vars(a).items():
        kind, there = ("folder", Path.is_dir) if option in FOLDERS else ("file", Path.is_file)
        for path in _paths_in(value):
            if option not in UNCHECKED and not there(path):
                raise InputError(f"{path}: no such {kind}: run the workflow again to make it")


def _paths_in(value: Any) -> list[Path]:
    """The paths of an argument, which may have several, and names for them."""
    items = value if isinstance(value, list) else [value]
    paths = [item[1] if isinstance(item, tuple) else item for item in items]
    return [path for path in paths if isinstance(path, Path)]


def _told(error: OSError) -> str:
    """An error of the file system, which is no fault of the program, in one line."""
    path = f"{error.filename}: " if error.filename else ""
    return f"{path}{error.strerror or error}: mend it, or name another file or folder"


def _start_log(path: Path | None) -> None:
    """Plain lines on the terminal; the same with the time in the log file.

    Of several processes one speaks, and of the others' lines only errors are told.
    """
    first = speaks_for_all()
    log.setLevel(logging.INFO if first else logging.ERROR)
    # A file that cannot be written is told at the end, and not with a traceback a line.
    logging.raiseExceptions = False
    words = "%(message)s" if first else f"process {os.environ['RANK']}: %(message)s"
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter(words))
    log.addHandler(terminal)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_fifo():  # to open one waits for its reader; so asked, it fails without one
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        # Names of files may be no UTF-8.
        stored = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        stored.setFormatter(logging.Formatter(f"%(asctime)s {words}"))
        log.addHandler(stored)


def _to_log_file(path: Path | None, text: str) -> None:
    if path is None:
        return
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError as error:  # such as a full disk; how the step ended is told all the same
        print(f"{path}: lines are missing ({error.strerror}): free space", file=sys.stderr)


if __name__ == "__main__":
    atexit.register(gc.freeze)
    end(main())
