"""Values checked against a schema, with every fault told by its file and key."""

from collections.abc import Container, Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from renal.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], values: Any, source: str) -> Model:
    """`values` as a model.

    Raises
    ------
    InputError
        With the source, and the key of every fault and what was expected there.
    """
    for key in _too_large(values):
        raise InputError(f"{source}: {key}: a number of 64 bits at most is expected: mend it")
    try:
        taken = model.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = _key_of(fault, values)
            given = f" (is {fault['input']!r})" if fault["type"] != "missing" and key else ""
            message = fault["msg"].removeprefix("Value error, ")
            if fault["type"] == "extra_forbidden":
                message, given = "unknown key", ""
            if fault["type"] == "union_tag_invalid":
                key, given = f"{key}.name", f" (is {fault['ctx']['tag']!r})"
                message = f"choose from {fault['ctx']['expected_tags']}"
            faults.append(f"{key}: {message}"[:300] + given[:80] if key else message)
        raise InputError(f"{source}: {'; '.join(faults)}: mend it") from error
    for key, number in _taken_for_numbers(values, taken.model_dump()):
        raise InputError(f"{source}: {key}: a number is expected (is {number!r}): mend it")
    return taken


def _too_large(given: Any, key: str = "") -> Iterator[str]:
    """Keys of numbers that Python may not even write, such as `1:59:59` with a thousand parts."""
    if isinstance(given, int) and given.bit_length() > 63:
        yield key.removeprefix(".")
    elif isinstance(given, dict):
        for name in given:
            yield from _too_large(name, key)
            yield from _too_large(given[name], f"{key}.{name}")
    elif isinstance(given, list | tuple):
        for number, part in enumerate(given):
            yield from _too_large(part, f"{key}.{number}")


def _taken_for_numbers(given: Any, taken: Any, key: str = "") -> Iterator[tuple[str, bool]]:
    """Keys of true and false that pydantic took for 1 and 0."""
    if isinstance(given, bool) and type(taken) in (int, float):
        yield key.removeprefix("."), given
    elif isinstance(given, dict) and isinstance(taken, dict):
        for name in given:
            yield from _taken_for_numbers(given[name], taken.get(name), f"{key}.{name}")
    elif isinstance(given, list | tuple) and isinstance(taken, list | tuple):
        for number, pair in enumerate(zip(given, taken, strict=False)):
            yield from _taken_for_numbers(*pair, f"{key}.{number}")


def _key_of(fault: ErrorDetails, values: Any) -> str:
    """The key of a fault in `values`, without the kinds of component that pydantic puts into it."""
    key: list[str] = []
    here: Any = values
    for number, part in enumerate(fault["loc"], start=1):
        known: Container[Any] = here if isinstance(here, dict) else ()
        if isinstance(here, list):
            known = range(len(here))
        if part in known:
            key.append(str(part))
            here = here[part]
        elif fault["type"] == "missing" and number == len(fault["loc"]):
            key.append(str(part))
    return ".".join(key)
