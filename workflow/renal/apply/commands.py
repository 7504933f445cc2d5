"""Commands beside the workflow, mostly for whoever applies a trained row.

Each imports what it needs itself, as the steps do, and returns its work.
"""

import argparse
import logging
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renal.errors import InputError
from renal.labels import KITS19, Labels

if TYPE_CHECKING:
    from renal.apply.dicom_input import DicomOptions
    from renal.apply.package import PackageFile
    from renal.recipe import Configuration

log = logging.getLogger("renal")

Work = Callable[[], object]


def scheme(text: str) -> Labels:
    """A table of labels: the name of a published one, or JSON."""
    from renal.recipe.schemes import read_scheme

    try:
        return read_scheme(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def number(least: int, below: float = math.inf, kind: type = int) -> Callable[[str], Any]:
    """What reads a number of a range."""

    def read(text: str) -> Any:
        value = kind(text)
        if not least <= value < below:
            upper = f" and less than {below}" if below < math.inf else ""
            raise argparse.ArgumentTypeError(f"at least {least}{upper} (is {text})")
        return value

    read.__name__ = f"{kind.__name__} number"  # argparse tells it where the text is none
    return read


def export(a: argparse.Namespace) -> Work:
    """Pack a trained row into one file."""
    from renal.apply.export import export

    return lambda: export(a.row, _configuration(a), a.to)


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


def archive(a: argparse.Namespace) -> Work:
    """Pack a finished run's tables, scores and provenance into one file for reviewers."""
    from renal.apply.archive import gather, write_archive
    from renal.apply.stored import file_digest
    from renal.apply.verify import verify
    from renal.files import replacing

    def work() -> None:
        run, files = gather(_configuration(a), segmentations=a.segmentations)
        with replacing(a.output) as temporary:
            write_archive(temporary, run, files)
            if differences := verify(temporary).differences:
                raise InputError(
                    "\n".join(["the results do not fit each other:", *differences])
                    + "\nrun the workflow again"
                )
        log.info("%s: %d files, SHA-256 %s", a.output, len(files), file_digest(a.output))

    return work


def verify(a: argparse.Namespace) -> Work:
    """Compute an archived run's tables from its scores, and scores from segmentations."""
    from renal.apply.verify import verify

    def work() -> None:
        found = verify(a.archive, a.data, threads=a.threads)
        for compared in found.compared:
            log.info("compared: %s", compared)
        if found.differences:
            counted = f"{a.archive}: {len(found.differences)} things differ:"
            raise InputError("\n".join([counted, *found.differences]))
        log.info("nothing differs")

    return work


def segment(a: argparse.Namespace) -> Work:
    """Segment CTs with a packed row."""
    from renal.apply.inputs import check_folder, find_inputs
    from renal.apply.package import read_package

    file = read_package(a.model)
    folds = _folds(a.folds, file.package.folds)
    source = _source(a)
    if a.volumes:
        _check_table(a.volumes)
    if a.to_dicomweb:
        from renal.apply.dicomweb import check_address

        check_address(a.to_dicomweb)

    def work() -> None:
        with source as folder:
            inputs = find_inputs(folder, a.to, _dicom(a, file))
            check_folder(a.to)
            if a.volumes:
                check_folder(a.volumes.parent)

            from renal.apply.memory import (
                give_back_freed_memory,
                keep_freed_memory,
                take_large_pages,
            )
            from renal.cluster.gpus import bfloat16_on_cpu, claim_gpus

            claim_gpus()
            take_large_pages()
            keep_freed_memory()

            import SimpleITK as sitk
            import torch

            from renal.apply.progress import Progress
            from renal.apply.segment import segment_all, write_measures
            from renal.apply.stages import Row

            torch.set_num_threads(a.threads)
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(a.threads)
            bfloat16 = bfloat16_on_cpu(a.bfloat16_on_cpu or file.package.bfloat16_on_cpu)
            row = Row(file, folds, bfloat16_on_cpu=bfloat16)
            give_back_freed_memory()
            progress = Progress(len(inputs), len(file.package.stages) + 3)
            outcome = segment_all(inputs, row, a.to, progress, preview=a.preview)
        if a.volumes:
            write_measures(a.volumes, outcome.measures)
        unsent = _sent(a.to_dicomweb, outcome.written) if a.to_dicomweb else []
        if outcome.faults:
            raise InputError(
                f"{len(outcome.faults)} of {len(inputs)} CTs were not segmented:\n"
                + "\n".join([*outcome.faults, *unsent])
            )
        if unsent:
            raise InputError(
                f"{len(unsent)} of {len(inputs)} results were not sent:\n" + "\n".join(unsent)
            )

    return work


def _check_table(path: Path) -> None:
    """Refuse to replace what is no table, a CT or the package itself, say."""
    if path.exists() and not (path.suffix == ".csv" and path.is_file()):
        raise InputError(
            f"{path}: is no CSV file, and would be replaced by one: name another for --volumes"
        )


def compare_labels(a: argparse.Namespace) -> Work:
    """Score one set of labels against another."""
    from renal.data.cases import find_labels
    from renal.data.label_checks import check_place
    from renal.evaluate.label_versions import compare_labels, shared_scheme
    from renal.report.label_versions import agreement, write_agreement

    if len(a.schemes) > 2:
        raise InputError("--labels: name one scheme, or that of the first and of the second")
    schemes = a.schemes[0], a.schemes[-1]

    def work() -> None:
        first, second = find_labels(a.first), find_labels(a.second)
        pairs = {case: (path, second[case]) for case, path in first.items() if case in second}
        if not pairs:
            raise InputError(f"{a.first}, {a.second}: no case has a label in both: name others")
        for folder, own in ((a.first, first), (a.second, second)):
            if len(own) > len(pairs):
                log.info("%s: %d cases are not in the other", folder, len(own) - len(pairs))
        rows = compare_labels(pairs, schemes, check_place=check_place, threads=a.threads)
        text = agreement(rows, shared_scheme(*schemes))
        if a.to:
            write_agreement(rows, text, a.to)
        print(text)

    return work


def series(a: argparse.Namespace) -> Work:
    """List the DICOM series in a folder."""
    from renal.apply.series import series_table
    from renal.image.dicom_series import find_series

    return lambda: print(series_table(find_series(a.folder)))


def label_descriptions(a: argparse.Namespace) -> Work:
    """Write names and colours of labels for Slicer and ITK-SNAP."""
    from renal.apply.label_descriptions import write_label_descriptions

    return lambda: write_label_descriptions(a.to, a.labels)


def _configuration(a: argparse.Namespace) -> "Configuration":
    """The configuration of a run that was called with the same arguments."""
    from renal.recipe import check_configuration, read_values

    return check_configuration(read_values(a.configfile, a.config))


def _source(a: argparse.Namespace) -> AbstractContextManager[Path]:
    """Where the CTs are, for as long as they are needed."""
    if (a.input is None) == (a.from_dicomweb is None):
        raise InputError("segment: name either a file or folder, or --from-dicomweb URL")
    if (a.from_dicomweb is None) != (a.study is None):
        raise InputError("--study and --from-dicomweb go together")
    if a.from_dicomweb is None:
        return nullcontext(a.input)
    from renal.apply.dicomweb import fetched

    return fetched(a.from_dicomweb, a.study, a.series)


def _dicom(a: argparse.Namespace, file: "PackageFile") -> "DicomOptions":
    from importlib.metadata import version

    from renal.apply.dicom_input import DicomOptions
    from renal.image.dicom_segmentation import Algorithm

    return DicomOptions(
        Algorithm(file.package.name, version("renal"), file.digest),
        series=tuple(a.series),
        resample_uneven=a.resample_uneven,
        untilt=a.untilt,
        labelmap=a.labelmap,
        labels=file.package.scheme,
    )


def _sent(url: str, written: list[Path]) -> list[str]:
    """Send results to an archive; returns what could not be sent, and why."""
    from renal.apply.dicomweb import store

    faults = []
    for path in written:
        if path.suffix != ".dcm":
            log.warning("%s: no DICOM object, which is why it was not sent", path)
            continue
        try:
            store(url, path)
        except InputError as error:
            faults.append(str(error))
    return faults


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
    _add_configuration(parser)
    parser = add(archive)
    parser.add_argument("output", type=Path, help="file to write: NAME.zip")
    parser.add_argument(
        "--segmentations", action="store_true", help="with those of all cases that were scored"
    )
    _add_configuration(parser)
    parser = add(verify)
    parser.add_argument("archive", type=Path, help="what archive wrote")
    parser.add_argument(
        "--data", type=Path, help="the data set, or a folder of its label maps, to score against"
    )
    _add_threads(parser, "cases at a time")
    parser = add(inspect)
    parser.add_argument("package", type=Path, help="what export wrote")
    parser = add(segment)
    parser.add_argument(
        "input", type=Path, nargs="?", help="a NIfTI file, a DICOM series, or a folder of either"
    )
    parser.add_argument("--model", type=Path, required=True, help="what export wrote")
    parser.add_argument("--to", type=Path, required=True, help="folder to write")
    parser.add_argument("--folds", type=int, nargs="+", help="whose models to use; default: all")
    parser.add_argument("--preview", action="store_true", help="a picture of each result")
    parser.add_argument("--volumes", type=Path, help="CSV to write: sizes of kidneys and tumours")
    parser.add_argument(
        "--bfloat16-on-cpu", action="store_true", help="faster on CPUs that have it"
    )
    _add_threads(parser, "cores to use")
    _add_dicom_arguments(parser)
    parser = add(compare_labels)
    parser.add_argument("first", type=Path, help="data set, or folder of label maps, to be scored")
    parser.add_argument("second", type=Path, help="the same, to score against")
    parser.add_argument(
        "--labels",
        dest="schemes",
        metavar="SCHEME",
        type=scheme,
        nargs="+",
        default=[KITS19],
        help="label scheme of both, or of each; default: kits19",
    )
    parser.add_argument("--to", type=Path, help="folder for labels.csv and labels.md")
    _add_threads(parser, "cases at a time")
    parser = add(series)
    parser.add_argument("folder", type=Path, help="folder of DICOM files, also nested")
    parser = add(label_descriptions)
    parser.add_argument("--to", type=Path, required=True, help="folder to write")
    parser.add_argument("--labels", type=scheme, default=KITS19, help="label scheme")


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], help="as the run had it")
    parser.add_argument("--config", nargs="+", default=[], help="as the run had it")


def _add_threads(parser: argparse.ArgumentParser, told: str) -> None:
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=number(1), default=cores, help=told)


def _add_dicom_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("DICOM")
    group.add_argument("--series", nargs="+", default=[], help="names or UIDs, or all of a study")
    group.add_argument("--resample-uneven", action="store_true", help="make uneven slices even")
    group.add_argument("--untilt", action="store_true", help="straighten a tilted gantry's slices")
    group.add_argument("--labelmap", action="store_true", help="smaller; for newer viewers")
    group.add_argument("--from-dicomweb", metavar="URL", help="archive to take a study from")
    group.add_argument("--study", metavar="UID", help="Study Instance UID")
    group.add_argument("--to-dicomweb", metavar="URL", help="archive to send the results to")
