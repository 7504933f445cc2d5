"""Writing files so that a reader never meets half of one."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from renal.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` when all went well.

    Parameters
    ----------
    path : Path
        The file to write. Its folder is made where it is missing.

    Raises
    ------
    InputError
        If the disk is full or the folder cannot be written, or something is there that is no
        file, such as a device. The temporary file is removed.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: no regular file, and not to be replaced by one: name another")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The ending stays at the end, because libraries choose the format by it.
        handle, name = tempfile.mkstemp(prefix=".", suffix=f".{path.name}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that a colleague could not read
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}): "
            "free space or mend the permissions, then run again"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Read a file that a user may have replaced; an OSError if it is no regular file.

    Opening a pipe waits for its writer, and a device may never end.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return path.read_text(encoding=encoding)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` in one step."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON from `path`.

    Raises
    ------
    InputError
        If the file is missing or is not JSON.
    """
    try:
        return json.loads(read_text(Path(path)))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}): {remedy_for(error)}") from error


def remedy_for(error: Exception) -> str:
    """What to do about a file of a step that cannot be read: it may be whole, and worth keeping."""
    kept = getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)
    return "mend its permissions or the disk" if kept else "delete it and run the workflow again"


def write_array(path: Path, array: np.ndarray) -> None:
    """Write `array` as .npy in C order, so that it can be memory-mapped, in one step."""
    with replacing(path) as temporary:
        np.save(temporary, np.ascontiguousarray(array))


def read_array(path: Path) -> np.ndarray:
    """Memory-map the .npy file at `path`, read only.

    Raises
    ------
    InputError
        If the file is missing or damaged. Snakemake does not notice a file that goes missing
        inside a folder that a rule made, so the message names the folder to make anew.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a damaged header makes numpy raise almost anything
        raise InputError(
            f"{path}: missing or damaged ({error}): delete the folder {Path(path).parent} "
            "and run the workflow again"
        ) from error
