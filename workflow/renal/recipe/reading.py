"""From YAML files to methods."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from renal.errors import InputError
from renal.recipe.checks import check_members
from renal.recipe.configuration import Configuration, refuse_taken_name
from renal.recipe.method import Method
from renal.recipe.rows import check_rows
from renal.recipe.schemes import check_regions
from renal.recipe.strict_yaml import read_mapping
from renal.recipe.validated import validated
from renal.sources import ROOT

METHODS = ROOT / "workflow/methods"


def read_values(files: Sequence[Path] = (), entries: Sequence[str] = ()) -> dict[str, Any]:
    """The workflow's config.yaml with others on top, as Snakemake merges them.

    Parameters
    ----------
    files : sequence of Path
        As of ``--configfile``; without any, the working folder's own, as `renal run` has it.
    entries : sequence of str
        As of ``--config``: ``methods=[resvnet]``.

    Raises
    ------
    InputError
        If a file or entry cannot be read.
    """
    from snakemake.cli import parse_config
    from snakemake.exceptions import WorkflowError
    from snakemake.utils import update_config

    own = Path("config.yaml")
    others = files or ([own] if own.exists() and Path.cwd() != ROOT else [])
    values: dict[str, Any] = {}
    for path in (ROOT / "config.yaml", *others):
        update_config(values, read_mapping(path))
    try:
        update_config(values, parse_config(entries))
    except (ValueError, WorkflowError) as error:
        raise InputError(f"--config: {error}") from error
    return values


def load_methods(configuration: Configuration) -> dict[str, Method]:
    """The recipes of all rows by name, and after them those that they only take stages from.

    Raises
    ------
    InputError
        With the file and key of the fault, and what was expected.
    """
    recipes: dict[str, Method] = {}
    waiting = [(name, "config.yaml: methods") for name in configuration.methods]
    while waiting:
        name, source = waiting.pop(0)
        if name not in recipes:
            refuse_taken_name(name, source)
            overrides = configuration.overrides.get(name, {})
            recipes[name] = load_method(name, overrides, source=source)
            for stage, member in recipes[name].members.items():
                source = f"workflow/methods/{name}.yaml: members.{stage}.of"
                waiting += [(of, source) for of in member.of]
            waiting += [(of, f"workflow/methods/{name}.yaml: of") for of in recipes[name].rows]
    unused = sorted(set(configuration.overrides) - set(recipes))
    if unused:
        raise InputError(
            f"config.yaml: overrides.{unused[0]}: no such method in `methods` "
            f"({', '.join(configuration.methods)}): add it there or remove the override"
        )
    for name, method in recipes.items():
        check_members(recipes, name, method, configuration.data.scheme)
        check_rows(recipes, name, method)
    check_regions(recipes, configuration.data.scheme)
    return recipes


def load_method(
    name: str,
    overrides: dict[str, Any],
    folder: Path = METHODS,
    source: str = "config.yaml: methods",
) -> Method:
    """Read a recipe, with what it extends beneath it and `overrides` from config.yaml on top.

    Parameters
    ----------
    name : str
        The recipe's name.
    overrides : dict
        What config.yaml changes of it.
    folder : Path
        Where recipes lie.
    source : str
        File and key that ask for it, for the message if there is none.

    Raises
    ------
    InputError
        With the file and key of the fault, and what was expected.
    """
    values = _extended(name, folder, source, ())
    source = f"workflow/methods/{name}.yaml"
    if overrides:
        # Checked first without the overrides, so that the fault is laid at the right door.
        recipe = validated(Method, values, source)
        source = f"config.yaml: overrides.{name}"
        _refuse_unknown_stages(overrides, recipe, source)
    return validated(Method, merged(values, overrides), source)


def _refuse_unknown_stages(overrides: dict[str, Any], recipe: Method, source: str) -> None:
    """What a stage of another name lacks would be told instead, key by key."""
    changed = overrides.get("stages")
    for stage in changed if isinstance(changed, dict) else ():
        if stage not in recipe.stages:
            known = ", ".join(recipe.stages) or "it has none"
            raise InputError(f"{source}.stages.{stage}: no such stage ({known}): mend the name")


def _extended(name: str, folder: Path, source: str, seen: tuple[str, ...]) -> dict[str, Any]:
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise InputError(f"{source}: no recipe {name!r}: choose from {known}")
    if name in seen:
        raise InputError(f"{path}: extends itself ({' -> '.join((*seen, name))}): break the circle")
    values = read_mapping(path)
    base = values.pop("extends", None)
    if base is not None:
        values = merged(_extended(base, folder, f"{path}: extends", (*seen, name)), values)
    read: dict[str, Any] = values
    # What is set to null is not taken over from the recipe beneath.
    for section in ("stages", "members"):
        if isinstance(read.get(section), dict):
            read[section] = {k: v for k, v in read[section].items() if v is not None}
    return read


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, key by key through nested mappings.

    A component of another name replaces the one beneath it: its keys are not the same.
    """
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            same = value.get("name", below.get("name")) == below.get("name")
            result[key] = merged(below, value) if same else value
        else:
            result[key] = value
    return result
