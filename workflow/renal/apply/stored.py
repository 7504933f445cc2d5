"""Zip archives whose members are stored as they are, so that none can grow when it is read."""

import hashlib
import zipfile
from pathlib import Path

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


def regular_file(path: Path) -> Path:
    """The path of a file; an OSError if it is a pipe or a device, whose end may never come."""
    if path.exists() and not path.is_file():
        raise OSError("no regular file")
    return path


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with regular_file(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
