"""Zip archives whose members are stored as they are, so that none can grow when it is read."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from renal.errors import InputError

Description = TypeVar("Description", bound=BaseModel)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can state


def write_stored(path: Path, members: dict[str, bytes | Path]) -> None:
    """Write an archive; the same content gives the same bytes.

    Parameters
    ----------
    path : Path
        The file.
    members : dict
        Name to content, or to the file that has it, in the order of the archive.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            stored = content.read_bytes() if isinstance(content, Path) else content
            archive.writestr(zipfile.ZipInfo(name, EPOCH), stored)


def check_stored(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise a ValueError where members are compressed or encrypted, or overlap."""
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ValueError(f"{member.filename} is compressed or encrypted")
    sizes = [max(member.file_size, member.compress_size) for member in members]
    names = {member.filename for member in members}
    if len(names) < len(members) or sum(sizes) > path.stat().st_size:
        raise ValueError("its parts overlap")


def understood(
    path: Path, part: str, values: Any, kind: type[Description], newest: int
) -> Description:
    """What a part of an archive says of the whole, as a model of that kind.

    Raises
    ------
    InputError
        If its format is newer than the newest that this program reads.
    ValueError
        If a value is none of that kind, with its place.
    """
    written = values.get("format") if isinstance(values, dict) else None
    if isinstance(written, int) and written > newest:
        raise InputError(
            f"{path}: {part}: format {written}, this program reads up to {newest}: update renal"
        )
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{part}: {place}: {fault['msg']}"[:200]) from error


def regular_file(path: Path) -> Path:
    """The path of a file; an OSError if it is a pipe or a device, whose end may never come."""
    if path.exists() and not path.is_file():
        raise OSError("no regular file")
    return path


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with regular_file(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
