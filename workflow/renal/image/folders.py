"""Files in folders of images."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def files_in(folder: Path, left_out: Path | None = None) -> Iterator[Path]:
    """Files of a folder and those within it, in order of name.

    Parameters
    ----------
    folder : Path
        Hidden files and folders in it do not count.
    left_out : Path, optional
        A folder that is not looked into, such as that of results.
    """
    hidden_from = None if left_out is None else os.path.realpath(left_out)
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in _shown(folders) if os.path.realpath(Path(parent, name)) != hidden_from
        )
        yield from (Path(parent) / name for name in sorted(_shown(names)))


def _shown(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]
