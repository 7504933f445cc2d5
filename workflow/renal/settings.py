"""What all sections of recipes and of the configuration share.

Nothing here, and in no `settings.py` beside a kind of component, imports torch, because every
planning of the workflow reads them. No step imports a `settings.py` while it runs, so a schema that
grows re-runs nothing.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Extent = tuple[int | None, int | None, int | None]
Size = tuple[PositiveInt, PositiveInt, PositiveInt]
Lengths = tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat]
Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(gt=0, le=1)]


def _usable(path: Path) -> Path:
    """The path with the home folder for ~; Snakemake and the steps must be able to take it."""
    text = str(path)
    if set("{}") & set(text):
        raise ValueError("Snakemake takes braces for wildcards: use a path without { and }")
    if text.startswith("-"):
        raise ValueError("a command takes a dash at the beginning for an option: write a full path")
    if min(text) < " ":
        raise ValueError("it has control characters: use a path without them")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("there is no such user: write the full path") from error


UsablePath = Annotated[Path, AfterValidator(_usable)]


class Strict(BaseModel):
    """A section in which an unknown key is an error."""

    # Settings reach the steps as JSON, which has no infinity and no NaN.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def as_values(settings: BaseModel) -> dict[str, Any]:
    """Settings as plain values for JSON, without those that are at their default.

    A schema that grows by an optional key then changes neither the hashes nor the parameters of
    steps that do not use it, so nothing runs again.
    """
    return settings.model_dump(mode="json", exclude_defaults=True)


def as_json(settings: BaseModel) -> str:
    """Settings as a step takes them on its command line."""
    return json.dumps(as_values(settings))


def settings_hash(*parts: BaseModel | None) -> str:
    """Eight hexadecimal digits that differ when any setting does."""
    values = [None if part is None else as_values(part) for part in parts]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
