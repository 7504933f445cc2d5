"""config.yaml: what a user edits."""

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from renal.data.cases import MISTAKEN, Layout
from renal.errors import InputError
from renal.labels import Labels
from renal.recipe.method import RESERVED
from renal.recipe.schemes import LabelScheme, Regions, labels_of
from renal.recipe.validated import validated
from renal.settings import Name, Strict, UsablePath
from renal.sources import MODULES, PACKAGE, ROOT

# A method is asked for by its name, as rules are, and has a row in tables, in which programs take
# some words for something else than a name.
TAKEN = {*MODULES, "catalog", "collect_test_scores", "download_weights", *MISTAKEN}
# The folders of a clone beside those for data and results; the example in `.test` has both.
OWN_FOLDERS = (
    *("benchmarks", "config", "demos", "docs", "envs", "profiles", "rules", "slurm", "tests"),
    *(".ci", ".git", ".github"),
)

Seed = Annotated[int, Field(ge=0, lt=2**32)]  # with the epoch's number it must fit 64 bits


class Data(Strict):
    """Where the cases lie, which are left out, tested on or of one patient; what labels mean."""

    root: UsablePath
    layout: Layout | None = None
    exclude: tuple[str, ...] = ()
    test: tuple[str | NonNegativeInt, ...] | UsablePath = ()
    groups: UsablePath | None = None
    unlabelled: UsablePath | None = None
    maximum_voxels: PositiveInt
    labels: LabelScheme = "kits19"
    regions: Regions | None = None

    @cached_property
    def scheme(self) -> Labels:
        """The table of labels and regions."""
        return labels_of(self.labels, self.regions)

    @model_validator(mode="after")
    def _scheme(self) -> "Data":
        labels_of(self.labels, self.regions)
        return self


class Folds(Strict):
    """How many folds there are, and the seed that deals the cases to them."""

    count: Annotated[int, Field(ge=2)]
    seed: Seed


class Compute(Strict):
    """Cores of a rule, and numerical settings that the models depend on."""

    prepare_threads: PositiveInt
    train_threads: PositiveInt
    predict_threads: PositiveInt
    bfloat16_on_cpu: bool
    seed: Seed


class NnUNetEnvironment(Strict):
    """nnU-Net's own environment; for rows that it trains."""

    python: UsablePath = Path(".venv-nnunet/bin/python")


Overrides = dict[Name, dict[str, Any]]


def _or_nothing(overrides: Any) -> Any:
    """What stands under `overrides:`, which may be nothing."""
    return {} if overrides is None else overrides


class Configuration(Strict):
    """config.yaml."""

    data: Data
    results: UsablePath
    methods: Annotated[tuple[Name, ...], Field(min_length=1)]
    folds: Folds
    batch_size: PositiveInt
    compute: Compute
    nnunet: NnUNetEnvironment = NnUNetEnvironment()
    overrides: Annotated[
        Overrides, BeforeValidator(_or_nothing, json_schema_input_type=Overrides | None)
    ] = Field(default_factory=dict)


def check_configuration(values: dict[str, Any]) -> Configuration:
    """Check the merged configuration.

    Raises
    ------
    InputError
        With the key, what it holds and what was expected.
    """
    configuration = validated(Configuration, values, "config.yaml")
    for name in configuration.methods:
        refuse_taken_name(name, "config.yaml: methods")
        if configuration.methods.count(name) > 1:
            raise InputError(f"config.yaml: methods: {name} is named twice: name it once")
    _refuse_place(configuration.results, configuration.data)
    return configuration


def refuse_taken_name(name: str, source: str) -> None:
    """Raise an InputError if a method has the name of something else."""
    if name in RESERVED:
        raise InputError(f"{source}: {name}: results of another kind have this name: rename it")
    if name in TAKEN:
        raise InputError(
            f"{source}: {name}: a rule, or a value in tables, has this name: rename it"
        )


def _refuse_place(results: Path, data: Data) -> None:
    """Raise an InputError where results would lie among files that are not the workflow's to make.

    Where the data lie within the results nothing is mixed: a phantom is made there.
    """
    place = _real(results)
    given = {_real(path): "the data" for _, path in data if isinstance(path, Path)}
    own = dict.fromkeys(
        (PACKAGE.parent, *(ROOT / name for name in OWN_FOLDERS)), "the workflow's own files"
    )
    for taken, what in {**given, **own}.items():
        if place.is_relative_to(taken):
            raise InputError(
                f"config.yaml: results: {results} lies in {taken}, with {what}: move it"
            )
    for top, what in ((Path(place.anchor), "the top of all"), (ROOT, "the workflow's own folder")):
        if place == top:
            raise InputError(f"config.yaml: results: {results} is {what}: name a folder in it")


def _real(path: Path) -> Path:
    """Where a path leads; that of a link to itself, for which `Path.resolve` fails, is its own."""
    return Path(os.path.realpath(path))
