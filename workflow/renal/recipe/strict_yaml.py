"""YAML files read strictly: whatever would be lost silently, or never end, is refused."""

import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from renal.errors import InputError
from renal.files import read_text

# A configuration and all of its recipes have a few hundred.
MOST_VALUES = 100_000
MERGE = "tag:yaml.org,2002:merge"
# Numbers that YAML 1.1 takes for octal (00210 is 136) or of base 60 (1:30 is 90).
OTHER_BASE = re.compile(r"[-+]?0[0-7_]+|.*:.*")
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys of a YAML file and their values.

    Parameters
    ----------
    path : Path
        The file, in UTF-8.

    Raises
    ------
    InputError
        If the file cannot be read, is not YAML, has no keys, says a key twice, has a number that
        means another one than it looks like, or means more than `MOST_VALUES` values once its
        aliases are written out (one that holds itself never ends).
    """
    try:
        text = read_text(path, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid YAML ({error}): save it as UTF-8") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}): put a YAML file there that you may read"
        ) from error
    return deepcopy(_parsed(text, path))


@cache  # a recipe is read again for each that extends it
def _parsed(text: str, path: Path) -> dict[str, Any]:
    values = None
    try:
        loader = yaml.SafeLoader(text)
        if node := loader.get_single_node():
            _refuse_lost_and_endless(node, loader, path)
            values = loader.construct_document(node)
    except InputError:
        raise
    except Exception as error:  # a number or date that is none makes PyYAML raise almost anything
        place = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: not valid YAML ({place}): mend it") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a mapping of keys is expected: write `key: value` on its lines")
    return values


def _refuse_lost_and_endless(top: yaml.Node, loader: yaml.SafeLoader, path: Path) -> None:
    """Look at every value as often as aliases repeat it."""
    waiting, seen = [top], 0
    while waiting:
        node, seen = waiting.pop(), seen + 1
        if seen + len(waiting) > MOST_VALUES:
            raise InputError(
                f"{path}: its aliases stand for more than {MOST_VALUES} values: write them out"
            )
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            _refuse_repeated_keys(node, loader, path)
            waiting += [part for pair in node.value for part in pair]
        elif node.tag in NUMBERS and OTHER_BASE.fullmatch(node.value):
            raise InputError(
                f"{path}: line {node.start_mark.line + 1}: {node.value} is "
                f"{loader.construct_object(node)} in YAML: write that, or '{node.value}' in quotes"
            )


def _refuse_repeated_keys(mapping: yaml.MappingNode, loader: yaml.SafeLoader, path: Path) -> None:
    """Compare keys as a dict does, in which `1`, `0x1` and `true` are the same."""
    said: dict[Any, yaml.ScalarNode] = {}
    for key, _ in mapping.value:
        if isinstance(key, yaml.ScalarNode):
            value = key.tag if key.tag == MERGE else loader.construct_object(key)
            first = said.setdefault(value, key)
            if first is not key:
                spellings = " = ".join(dict.fromkeys([repr(first.value), repr(key.value)]))
                lines = f"{first.start_mark.line + 1} and {key.start_mark.line + 1}"
                raise InputError(f"{path}: {spellings} is said twice, in lines {lines}: keep one")
