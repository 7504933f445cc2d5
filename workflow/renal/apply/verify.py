"""Whether an archive of a run is what it says: tables from scores, scores from segmentations."""

import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd

from renal import sources
from renal.apply.archive import (
    ANNOTATORS,
    SCORES,
    SEGMENTATION,
    TABLES,
    TEST_TABLES,
    ArchivedRow,
    ArchivedRun,
    unpack,
)
from renal.data.cases import find_labels
from renal.data.label_checks import check_place
from renal.errors import InputError
from renal.evaluate.comparison import compare
from renal.evaluate.evaluation import evaluate, located_columns
from renal.evaluate.settings import Merging
from renal.handover.checked import CheckedCase
from renal.handover.checksums import checksum
from renal.image.volume import read_header, read_label
from renal.parallel import for_each
from renal.report.comparison import write_comparison
from renal.report.settings import COMPARED
from renal.report.tables import write_tables
from renal.report.tables_of_tests import write_test_tables

# Those whose steps are done again.
RULES = ("evaluate", "write_tables", "write_test_tables", "compare")
STEP = 1.5e-6  # scores and tables are written with six digits, of which the last may be rounded


@dataclass
class Findings:
    """What an archive was found to be: what was compared, and what is not as it should be."""

    compared: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def verify(path: Path, data: Path | None = None, *, threads: int = 1) -> Findings:
    """Compute again what can be, and compare it with what an archive holds.

    Parameters
    ----------
    path : Path
        What `renal.apply.archive.write_archive` wrote.
    data : Path, optional
        A data set, or a folder of its label maps, to compute the scores from.
    threads : int
        Cases at a time.

    Raises
    ------
    InputError
        If it is no archive, or no segmentation is in it although there are labels.
    """
    labels = find_labels(data) if data else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, faults = unpack(path, folder / "archive")
        found = Findings(differences=faults)
        found.compared.append(f"files of renal {run.program} with their checksums")
        if any(run.code.get(rule) != sources.code_hash(*sources.MODULES[rule]) for rule in RULES):
            found.compared.append(f"by other code than theirs: renal {sources.version()}")
        _check_tables(run, folder, found)
        if labels:
            segmented = [
                match
                for file in sorted((folder / "archive").rglob("*.nii.gz"))
                if (match := SEGMENTATION.fullmatch(str(file.relative_to(folder / "archive"))))
            ]
            if not segmented:
                raise InputError(f"{path}: no segmentations in it: leave --data out")
            for row in run.rows:
                cases = [match[2] for match in segmented if match[1] == row]
                _check_scores(run, row, cases, labels, folder, found, threads)
    return found


def _check_tables(run: ArchivedRun, folder: Path, found: Findings) -> None:
    """Compare the tables with those that the archive's scores give."""
    archive, again, labels = folder / "archive", folder / "tables", run.labels
    told = {name: row.told for name, row in run.rows.items()}
    scores, test_scores = ([archive / row / name for row in run.rows] for name in SCORES)
    annotators = archive / ANNOTATORS if (archive / ANNOTATORS).exists() else None
    names = list(TABLES)
    try:
        write_tables(scores, told, again, labels, annotators)
        if any(case.fold is None for case in run.cases.values()):
            tested = {
                name: row.told.model_copy(update={"missing": row.missing_tests})
                for name, row in run.rows.items()
            }
            write_test_tables(test_scores, tested, again, labels, annotators)
            names += TEST_TABLES
        if len(run.rows) > 1:
            models = {name: row.models for name, row in run.rows.items()}
            write_comparison(compare(scores, models, labels), told, again, labels)
            names += COMPARED
    except (InputError, OSError, ValueError, KeyError) as error:
        reason = str(error).replace(f"{archive}/", "").splitlines()[0]
        found.differences.append(f"tables cannot be computed from the scores: {reason}")
        return
    for name in names:
        if (archive / "tables" / name).exists():
            compare_files = _compared_tables if name.endswith(".csv") else _compared_texts
            differences = compare_files(archive / "tables" / name, again / name)
            found.differences += [f"tables/{name}: {difference}" for difference in differences]
        else:
            found.differences.append(f"tables/{name}: missing")
    found.compared.append(f"{len(names)} tables with those that the scores of all rows give")


def _check_scores(
    run: ArchivedRun,
    row: str,
    names: list[str],
    labels: dict[str, Path],
    folder: Path,
    found: Findings,
    threads: int,
) -> None:
    """Compare a row's scores on the scanner's voxels with those that its segmentations give."""
    segmentations = folder / "archive" / row / "segmentation"
    there = [name for name in names if name in labels and name in run.cases]
    check = partial(_fault_of, run=run, segmentations=segmentations, labels=labels)
    faults = dict(zip(there, for_each(there, check, threads), strict=True))
    found.differences += [f"{row}, {name}: {fault}" for name, fault in faults.items() if fault]
    if missing := [name for name in run.cases if name not in names]:
        found.differences.append(f"{row}/segmentation: no {', '.join(missing)}")
    sound = [name for name in there if not faults[name]]
    if sound:
        again = folder / f"{row}.csv"
        evaluate(
            [_as_checked(name, segmentations, labels[name]) for name in sound],
            segmentations,
            {},
            Merging(family=run.rows[row].told.family, regions=run.rows[row].regions),
            again,
            name=row,
            labels=run.labels,
            threads=threads,
        )
        found.differences += [
            f"{row}: {difference}"
            for difference in _compared_scores(folder / "archive" / row, again, run.rows[row], run)
        ]
    unlabelled = len(run.cases.keys() - labels.keys())
    found.compared.append(
        f"scores of {row} on the native grid with those of {len(sound)} segmentations"
        + (f"; of {unlabelled} cases there is no label at hand" if unlabelled else "")
    )


def _fault_of(name: str, run: ArchivedRun, segmentations: Path, labels: dict[str, Path]) -> str:
    """Why a segmentation cannot be scored; empty if it can."""
    path = segmentations / f"{name}.nii.gz"
    if checksum(labels[name]) != run.cases[name].checksum.split("-")[1]:
        return "the label is another than the one that was scored against"
    try:
        header = read_header(path)
        check_place(header, read_header(labels[name]))
        read_label(header, run.labels)
        read_label(read_header(labels[name]), run.labels)
    except InputError as error:
        return str(error).replace(f"{path}: ", "")
    return ""


def _as_checked(name: str, segmentations: Path, label: Path) -> CheckedCase:
    """A case as evaluation wants it: segmentations lie in exactly the geometry of their images."""
    header = read_header(segmentations / f"{name}.nii.gz")
    return CheckedCase(name, "", str(label), list(header.shape), list(header.spacing))


def _compared_scores(folder: Path, again: Path, row: ArchivedRow, run: ArchivedRun) -> list[str]:
    """What differs between the native scores of an archive and those computed again."""
    given = pd.concat([_read(path) for name in SCORES if (path := folder / name).exists()])
    given = given[given["grid"] == "native"].set_index("case")
    computed = _read(again).set_index("case")
    if lost := sorted(set(computed.index) - set(given.index)):
        return [f"no score of {', '.join(lost)}"]
    kept = [str(c) for c in computed if c not in ("fold", *located_columns(run.labels))]
    if lost := [column for column in kept if column not in given]:
        return [f"no column {', '.join(lost)}"]
    given = given.loc[computed.index, kept].reset_index()
    return _compared(given, computed[kept].reset_index(), ["case"])


def _compared_tables(given: Path, computed: Path) -> list[str]:
    """What differs between two CSV files, numbers by more than their last digit."""
    first, second = _read(given), _read(computed)
    keys = [str(column) for column in second if not _numbers(second[column]).notna().any()]
    return _compared(first, second, keys)


def _compared(given: pd.DataFrame, computed: pd.DataFrame, keys: list[str]) -> list[str]:
    """Lines that name row, column, and both values; the first difference of every row."""
    if list(given) != list(computed) or len(given) != len(computed):
        return [
            f"{len(given)} rows and {len(given.columns)} columns in the archive, computed again "
            f"{len(computed)} and {len(computed.columns)}, or of other names"
        ]
    differing = pd.DataFrame(
        {
            column: (given[column] != computed[column])
            & ~((_numbers(given[column]) - _numbers(computed[column])).abs() < STEP)
            for column in computed
        }
    )
    lines = []
    for place in differing.index[differing.any(axis="columns")]:
        column = differing.columns[differing.loc[place]][0]
        known = " ".join(str(computed.loc[place, key]) for key in keys).strip()
        values = (frame.loc[place, column] or "nothing" for frame in (given, computed))
        lines.append("{}, {}: {} in the archive, {} computed again".format(known, column, *values))
    return lines


def _compared_texts(given: Path, computed: Path) -> list[str]:
    """The first line in which two texts differ."""
    texts = [path.read_text(encoding="utf-8").splitlines() for path in (given, computed)]
    pairs = enumerate(zip(*texts, strict=False), start=1)
    number = next((number for number, (one, other) in pairs if one != other), None)
    if number is None and len(texts[0]) == len(texts[1]):
        return []
    return [f"line {number or min(map(len, texts)) + 1} is another when computed again"]


def _numbers(column: "pd.Series[str]") -> "pd.Series[float]":
    return pd.to_numeric(column, errors="coerce")


def _read(path: Path) -> pd.DataFrame:
    """A CSV file as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
