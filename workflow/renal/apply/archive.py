"""A finished run as one file for reviewers: what it holds, and how it is written and read.

An archive is a zip archive of plain files, and an RO-Crate [1]_: tables, scores, folds and, where
asked for, segmentations; ``run.json``, an `ArchivedRun`; and ``SHA256SUMS``, which ``sha256sum
--check`` reads. It names no folder of the machine, and of cases the names and checksums alone.

References
----------
.. [1] RO-Crate Metadata Specification 1.1, https://w3id.org/ro/crate/1.1
"""

import csv
import hashlib
import json
import platform
import re
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

from renal import sources
from renal.apply.export import LICENCE
from renal.apply.finished import account_of, recorded_cases
from renal.apply.package import Trained
from renal.apply.stored import (
    check_stored,
    file_digest,
    regular_file,
    understood,
    write_stored,
)
from renal.errors import InputError
from renal.files import replacing
from renal.handover.models import model_file
from renal.labels import Labels
from renal.recipe import Configuration, Method, load_methods, merging, models_of, row
from renal.report.settings import COMPARED, Row
from renal.settings import Name, Strict

FORMAT = 1  # one more whenever an older program could not read a new archive
CRATE, RUN, SUMS = "ro-crate-metadata.json", "run.json", "SHA256SUMS"
TABLES = ("cv.csv", "cv.md", "cv.tex", "cv.html")
TEST_TABLES = ("test.csv", "test.md", "test.html")
SCORES = ("scores.csv", "test_scores.csv")
ANNOTATORS = "annotators.csv"
SEGMENTATION = re.compile(r"([a-z][a-z0-9_]*)/segmentation/([A-Za-z][A-Za-z0-9_-]*)\.nii\.gz")
MEMBER = re.compile(
    rf"{re.escape(CRATE)}|run\.json|SHA256SUMS|folds\.csv|annotators\.csv"
    r"|tables/(cv|test|compare)[a-z_]*\.(csv|md|tex|html)"
    rf"|[a-z][a-z0-9_]*/(test_)?scores\.csv|{SEGMENTATION.pattern}"
)
TYPES = {
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".tex": "application/x-tex",
}


class ArchivedCase(Strict):
    """A scored case: the fold that held it out, none for a test, and CRC-32 of image and label."""

    fold: NonNegativeInt | None
    checksum: Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{8}$")]


class ArchivedRow(Strict):
    """A row: what the tables say of it, what it is made of, and the regions that it looks for.

    `missing_tests` counts what `told.missing` does, of the tests.
    """

    told: Row
    missing_tests: NonNegativeInt = 0
    models: tuple[str, ...]
    regions: tuple[Name, ...] | None


class ArchivedRun(Strict):
    """What ``run.json`` says.

    Attributes
    ----------
    format : int
        `FORMAT` of the program that wrote it.
    program, python, created : str
        Version and commit of renal, version of Python, and when the archive was written.
    settings : dict
        What of config.yaml decides the results, without folders.
    labels : Labels
        The regions that were scored.
    rows : dict
        In the order of the tables.
    cases : dict
        Every scored case by its name.
    code : dict
        Rule to the hash of the code of its step, without a recipe's components.
    models : dict
        row/stage/fold to the SHA-256 of the weights, and what run.json says of the training.
    recipes : dict
        The recipes in full, for reading.
    """

    format: PositiveInt
    program: str
    python: str
    created: str
    settings: dict[str, Any]
    labels: Labels
    rows: Annotated[dict[Name, ArchivedRow], Field(min_length=1)]
    cases: dict[str, ArchivedCase]
    code: dict[str, str]
    models: dict[str, dict[str, Any]]
    recipes: dict[str, dict[str, Any]]


def gather(
    configuration: Configuration, *, segmentations: bool
) -> tuple[ArchivedRun, dict[str, Path]]:
    """What is to be archived of a finished run: its description, and member to file.

    Parameters
    ----------
    configuration : Configuration
        config.yaml, whose results folder holds the run.
    segmentations : bool
        Whether the scored cases' segmentations go along.

    Raises
    ------
    InputError
        With the first file that is missing, or the first model that was trained with other values
        than its recipe has now.
    """
    recipes, results = load_methods(configuration), configuration.results
    methods, labels = configuration.methods, configuration.data.scheme
    cases = _cases(results, methods[0])
    models = {name: models_of(recipes, name) for name in methods}
    described = ArchivedRun(
        format=FORMAT,
        program=sources.version(),
        python=platform.python_version(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        settings={
            "folds": configuration.folds.model_dump(),
            "compute": configuration.compute.model_dump(include={"seed", "bfloat16_on_cpu"}),
            "exclude": list(configuration.data.exclude),
        },
        labels=labels,
        rows={
            name: ArchivedRow(
                told=row(recipes, name, [n for n in cases if cases[n].fold is not None]),
                missing_tests=row(
                    recipes, name, [n for n in cases if cases[n].fold is None]
                ).missing,
                models=tuple(map(_without_path, models[name])),
                regions=merging(recipes, name, labels).regions,
            )
            for name in methods
        },
        cases=cases,
        code={rule: sources.code_hash(*modules) for rule, modules in sources.MODULES.items()},
        models=_models(results, recipes, chain(*models.values()), configuration.folds.count),
        recipes={name: _without_folders(recipe) for name, recipe in recipes.items()},
    )
    tested = any(case.fold is None for case in cases.values())
    names = ["folds.csv", *(f"tables/{name}" for name in TABLES)]
    names += [f"tables/{name}" for name in TEST_TABLES if tested]
    names += [f"tables/{name}" for name in COMPARED if len(methods) > 1]
    names += [f"{method}/{name}" for method in methods for name in SCORES[: 1 + tested]]
    names += [ANNOTATORS] if (results / ANNOTATORS).exists() else []
    if segmentations:
        names += [f"{m}/segmentation/{case}.nii.gz" for m in methods for case in cases]
    if missing := [name for name in names if not (results / name).is_file()]:
        raise InputError(f"{results / missing[0]}: missing: finish the run first: snakemake")
    return described, {name: results / name for name in names}


def write_archive(path: Path, run: ArchivedRun, files: dict[str, Path]) -> None:
    """Write an archive in one step.

    Parameters
    ----------
    path : Path
        The file.
    run : ArchivedRun
        What it says.
    files : dict
        Member to the file that has its content.
    """
    described = {
        CRATE: _json(_crate(run, {name: file.stat().st_size for name, file in files.items()})),
        RUN: _json(run.model_dump(mode="json")),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in described.items()}
    digests |= {name: file_digest(file) for name, file in files.items()}
    sums = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
    with replacing(path) as temporary:
        write_stored(temporary, {**described, SUMS: sums, **files})


def unpack(path: Path, folder: Path) -> tuple[ArchivedRun, list[str]]:
    """Unpack an archive; returns what it says, and which of its files are not as they were.

    Raises
    ------
    InputError
        If it is missing, no archive of a run, of a newer format, or cannot be read.
    """
    if path.is_dir():
        raise InputError(
            f"{path}: a folder: name the file that `renal archive` wrote, or compare what was "
            f"unpacked by `sha256sum --check {SUMS}`"
        )
    try:
        with zipfile.ZipFile(regular_file(path)) as archive:
            members = archive.infolist()
            check_stored(path, members)
            for member in members:
                if not MEMBER.fullmatch(member.filename):
                    raise ValueError(f"{member.filename[:80]!r} is no part of an archive")
            for member in members:
                archive.extract(member, folder)
        values = json.loads((folder / RUN).read_bytes())
        run = understood(path, RUN, values, ArchivedRun, FORMAT)
        sums = (folder / SUMS).read_text(encoding="ascii").splitlines()
        expected = {name: digest for digest, _, name in (line.partition("  ") for line in sums)}
    except FileNotFoundError as error:
        missing = path if not path.exists() else Path(str(error.filename)).name
        raise InputError(f"{path}: {missing} is missing: name what `renal archive` wrote") from None
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: damaged or no archive of a run ({error}): copy it again, or name another"
        ) from error
    found = {member.filename for member in members} - {SUMS}
    faults = [f"{name}: missing" for name in sorted(expected.keys() - found)]
    faults += [f"{name}: not listed in {SUMS}" for name in sorted(found - expected.keys())]
    for name in sorted(found & expected.keys()):
        if file_digest(folder / name) != expected[name]:
            faults.append(f"{name}: changed since it was archived")
    return run, faults


def _cases(results: Path, method: str) -> dict[str, ArchivedCase]:
    """The cases that a row, and so every row, was scored on."""
    folds = dict[str, int | None]()
    for path in (results / method / name for name in reversed(SCORES)):
        if path.exists():
            with path.open(encoding="utf-8", newline="") as stream:
                for line in csv.DictReader(stream):
                    folds[line["case"]] = int(line["fold"]) if line["fold"] else None
    checked = recorded_cases(results)
    if missing := sorted(folds.keys() - checked.keys()):
        raise InputError(f"{results / 'cases'}: no record of {missing[0]}: run the workflow again")
    return {
        name: ArchivedCase(fold=fold, checksum=checked[name].checksum)
        for name, fold in sorted(folds.items())
    }


def _models(
    results: Path, recipes: dict[str, Method], names: Iterable[str], folds: int
) -> dict[str, dict[str, Any]]:
    """Every model, by row/stage/fold, of those that rows are made of."""
    found = {}
    for name in sorted(set(names)):
        method, _, stage = name.partition("/")
        if "{case}" not in name:  # another program's files
            for fold in (f"fold{number}" for number in range(folds)):
                weights = model_file(results, method, stage, fold)
                if not weights.is_file():
                    raise InputError(
                        f"{weights}: missing: finish the run first: snakemake; or make it again, "
                        f"if it was deleted: snakemake {weights}"
                    )
                told = account_of(weights, recipes, method, stage)
                kept = {key: told[key] for key in Trained.model_fields if key in told}
                found[f"{name}/{fold}"] = {"sha256": file_digest(weights), **kept}
    return found


def _crate(run: ArchivedRun, sizes: dict[str, int]) -> dict[str, Any]:
    """RO-Crate's description of the files, and of what made them."""
    parts = [RUN, *sizes]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": "Cross-validation of kidney-tumour segmentation: " + ", ".join(run.rows),
        "description": (
            f"Tables and scores of {len(run.rows)} rows on {len(run.cases)} cases. "
            "`python -m renal verify` computes the tables from the scores anew, and the scores "
            "from segmentations where they are in it and the labels are at hand."
        ),
        "datePublished": run.created[:10],
        "license": {"@id": "#licence"},
        "hasPart": [{"@id": name} for name in parts],
        "mentions": {"@id": "#run"},
    }
    files = [
        {"@id": name, "@type": "File", "name": name, "encodingFormat": TYPES[Path(name).suffix]}
        | ({"contentSize": str(sizes[name])} if name in sizes else {})
        for name in parts
    ]
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": CRATE,
                "@type": "CreativeWork",
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            root,
            *files,
            {
                "@id": "#licence",
                "@type": "CreativeWork",
                "name": "Terms of program and data",
                "description": LICENCE,
            },
            {
                "@id": "#renal",
                "@type": "SoftwareApplication",
                "name": "renal",
                "softwareVersion": run.program,
            },
            {
                "@id": "#run",
                "@type": "CreateAction",
                "name": "Run of the workflow",
                "instrument": {"@id": "#renal"},
                "result": {"@id": "./"},
                "endTime": run.created,
            },
        ],
    }


def _without_path(model: str) -> str:
    """A model's name; a hash for another program's files, which only tells where two are alike."""
    if "{case}" in model:
        return "files-" + hashlib.sha256(model.encode()).hexdigest()[:8]
    return model


def _without_folders(value: Any) -> Any:
    """Values for JSON, of paths the last part alone."""
    if isinstance(value, BaseModel):
        return _without_folders(value.model_dump(exclude_defaults=True))
    if isinstance(value, dict):
        return {str(key): _without_folders(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(part) for part in value]
    if isinstance(value, Path) or (isinstance(value, str) and value.startswith("/")):
        return Path(value).name
    return value


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
