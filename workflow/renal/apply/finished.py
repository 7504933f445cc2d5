"""What a finished run has left: its cases, and its models, held against the configuration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from renal.data.lists import read_rows
from renal.errors import InputError
from renal.files import read_json
from renal.handover.checked import CheckedCase, read_checked
from renal.handover.seals import check_seal
from renal.learn.settings import Training
from renal.recipe import Method, true_folder


def recorded_cases(results: Path) -> dict[str, CheckedCase]:
    """Every case that cases.csv lists, by its name, as the record of its batch has it.

    A batch that a run no longer has, as after a case was labelled or folds were dealt anew, leaves
    a record of how its cases were then.

    Raises
    ------
    InputError
        If the list is missing, or it or a record is damaged.
    """
    path = results / "cases.csv"
    if not path.exists():
        raise InputError(f"{path}: missing: finish the run first: snakemake")
    batches = {row["case"]: row["batch"] for _, row in read_rows(path, "case", "batch")}
    files = {batch: results / f"cases/{batch}.json" for batch in batches.values()}
    records = {batch: read_checked(file) for batch, file in files.items() if file.exists()}
    return {n: records[b][n] for n, b in batches.items() if n in records.get(b, {})}


def account_of(model: Path, recipes: dict[str, Method], method: str, stage: str) -> dict[str, Any]:
    """What run.json says of the training of a model.

    Parameters
    ----------
    model : Path
        The weights, beside which it lies.
    recipes : dict
        All recipes with config.yaml's overrides.
    method, stage : str
        Whose model it is.

    Raises
    ------
    InputError
        If model or run.json are not as the training left them, or it trained with other values, or
        on another grid or with other intensities, than the recipe has now: what is made of it, or
        told with it, would be wrong.
    """
    path = model.with_name("run.json")
    for file in (model, path):
        check_seal(file)
    account: dict[str, Any] = read_json(path)
    settings = recipes[method].stages.get(stage)
    if settings is None:  # nnU-Net's own training
        return account
    remedy = "run the workflow again, or set config.yaml and the recipe back"
    try:
        trained = dict(_values(Training.model_validate(account["settings"]).model_dump()))
    except (KeyError, ValidationError) as error:
        raise InputError(f"{path}: damaged, or of another version: {remedy}") from error
    now = dict(_values(settings.training.model_dump()))
    for key in sorted(trained.keys() | now.keys()):
        if trained.get(key) != now.get(key):
            raise InputError(
                f"{path}: trained with {key} {trained.get(key)}, the recipe of {method} now has "
                f"{now.get(key)}: {remedy}"
            )
    place = "/".join(true_folder(recipes, method, stage).parts[-2:])
    if account.get("prepared", place) != place:
        raise InputError(
            f"{path}: trained on {account['prepared']}, the geometry, intensities and regions of "
            f"{method} now give {place}: {remedy}"
        )
    return account


def _values(settings: dict[str, Any], key: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by keys such as ``optimizer.learning_rate``."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _values(value, f"{key}{name}.")
        else:
            yield f"{key}{name}", value
