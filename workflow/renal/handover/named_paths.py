"""Paths that a step is given by names, ``name=path`` on its command line."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from renal.errors import InputError

Paths = TypeVar("Paths")


def grouped(named: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Paths by their names, in order."""
    groups: dict[str, list[Path]] = {}
    for name, path in named:
        groups.setdefault(name, []).append(path)
    return groups


def of_all(option: str, given: dict[str, Paths], names: Iterable[str]) -> dict[str, Paths]:
    """What an option gives by names; an InputError if one is not given that is needed."""
    if missing := [name for name in names if name not in given]:
        raise InputError(f"{option}: {missing[0]}=path is needed, too")
    return given
