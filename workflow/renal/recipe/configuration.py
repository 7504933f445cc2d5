"""config.yaml: what a user edits."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PositiveInt

from renal.errors import InputError
from renal.recipe.method import RESERVED
from renal.recipe.validated import validated
from renal.settings import Name, Strict
from renal.sources import PACKAGE


def _without_braces(path: Path) -> Path:
    if set("{}") & set(str(path)):
        raise ValueError("Snakemake takes braces for wildcards: use a path without { and }")
    return path


Folder = Annotated[Path, AfterValidator(_without_braces)]


class Data(Strict):
    """Where the cases lie, and which of them are left out."""

    root: Folder
    exclude: tuple[str, ...] = ()
    maximum_voxels: PositiveInt


class Folds(Strict):
    """How many folds there are, and the seed that deals the cases to them."""

    count: Annotated[int, Field(ge=2)]
    seed: int


class Compute(Strict):
    """Cores of a rule, and numerical settings that the models depend on."""

    prepare_threads: PositiveInt
    train_threads: PositiveInt
    predict_threads: PositiveInt
    bfloat16_on_cpu: bool
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # with the epoch's number it must fit 64 bits


class Configuration(Strict):
    """config.yaml."""

    data: Data
    results: Folder
    methods: Annotated[tuple[Name, ...], Field(min_length=1)]
    folds: Folds
    batch_size: PositiveInt
    compute: Compute
    overrides: dict[Name, dict[str, Any]] = Field(default_factory=dict)


def check_configuration(values: dict[str, Any]) -> Configuration:
    """Check the merged configuration.

    Raises
    ------
    InputError
        With the key, what it holds and what was expected.
    """
    configuration = validated(Configuration, values, "config.yaml")
    for name in configuration.methods:
        if name in RESERVED:
            raise InputError(
                f"config.yaml: methods: {name}: results of another kind have this name"
            )
        if configuration.methods.count(name) > 1:
            raise InputError(f"config.yaml: methods: {name} is named twice: name it once")
    _refuse_place(configuration.results, configuration.data.root)
    return configuration


def _refuse_place(results: Path, data: Path) -> None:
    """Raise an InputError where results would lie among files that are not the workflow's to make.

    Where the data lie within the results nothing is mixed: a phantom is made there.
    """
    place = results.resolve()
    for taken, what in ((data.resolve(), "the data"), (PACKAGE.parent, "the workflow's own files")):
        if place.is_relative_to(taken):
            raise InputError(
                f"config.yaml: results: {results} lies in {taken}, with {what}: move it"
            )
    if place == Path(place.anchor):
        raise InputError(f"config.yaml: results: {results} is the top of all: name a folder")
