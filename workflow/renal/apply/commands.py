"""Commands for whoever applies a trained row: export, inspect, segment.

Each imports what it needs itself, as the steps do, and returns its work.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from renal.errors import InputError

Work = Callable[[], object]


def export(a: argparse.Namespace) -> Work:
    """Pack a trained row into one file."""
    import yaml
    from snakemake.utils import update_config

    from renal.apply.export import export
    from renal.recipe import check_configuration

    def work() -> None:
        values: dict[str, object] = {}
        base = Path("config.yaml")
        for path in [*([base] if base.exists() else []), *a.configfile]:
            try:
                update_config(values, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                reason = " ".join(str(error).split())
                raise InputError(f"{path}: cannot be read ({reason}): mend it") from error
        if not values:
            raise InputError("config.yaml: missing: run this in the workflow's folder")
        export(a.row, check_configuration(values), a.to)

    return work


def inspect(a: argparse.Namespace) -> Work:
    """Print what a package is and how well it did."""
    from renal.apply.inspect import described
    from renal.apply.package import read_package

    def work() -> None:
        file = read_package(a.package)
        for stage in file.package.stages.values():
            for model in stage.models:
                file.weights(model)
        print(described(file))

    return work


def segment(a: argparse.Namespace) -> Work:
    """Segment CTs with a packed row."""
    from renal.apply.inputs import find_inputs
    from renal.apply.package import read_package

    file = read_package(a.model)
    folds = _folds(a.folds, file.package.folds)
    inputs = find_inputs(a.input, a.to)

    import SimpleITK as sitk
    import torch

    from renal.apply.progress import Progress
    from renal.apply.segment import segment_all, write_measures
    from renal.apply.stages import Row

    def work() -> None:
        torch.set_num_threads(a.threads)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(a.threads)
        row = Row(file, folds, bfloat16_on_cpu=a.bfloat16_on_cpu or file.package.bfloat16_on_cpu)
        progress = Progress(len(inputs), len(file.package.stages) + 3)
        outcome = segment_all(inputs, row, a.to, progress, preview=a.preview)
        if a.volumes:
            write_measures(a.volumes, outcome.measures)
        if outcome.faults:
            raise InputError(
                f"{len(outcome.faults)} of {len(inputs)} CTs were not segmented:\n"
                + "\n".join(outcome.faults)
            )

    return work


def _folds(given: list[int] | None, count: int) -> list[int]:
    folds = list(range(count)) if given is None else sorted(set(given))
    if unknown := [fold for fold in folds if not 0 <= fold < count]:
        raise InputError(f"--folds {unknown[0]}: the package has folds 0 to {count - 1}")
    return folds


def add_commands(
    add: Callable[[Callable[[argparse.Namespace], Work]], argparse.ArgumentParser],
) -> None:
    """Describe the arguments of every command to a parser that `add` makes of it."""
    parser = add(export)
    parser.add_argument("row", help="a method of config.yaml")
    parser.add_argument("--to", type=Path, required=True, help="file to write: NAME.renal")
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="as Snakemake has it"
    )
    parser = add(inspect)
    parser.add_argument("package", type=Path, help="what export wrote")
    parser = add(segment)
    parser.add_argument("input", type=Path, help="a NIfTI file, or a folder of them, also nested")
    parser.add_argument("--model", type=Path, required=True, help="what export wrote")
    parser.add_argument("--to", type=Path, required=True, help="folder to write")
    parser.add_argument("--folds", type=int, nargs="+", help="whose models to use; default: all")
    parser.add_argument("--preview", action="store_true", help="a picture of each result")
    parser.add_argument("--volumes", type=Path, help="CSV to write: sizes of kidneys and tumours")
    parser.add_argument(
        "--bfloat16-on-cpu", action="store_true", help="faster on CPUs that have it"
    )
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="cores to use"
    )
