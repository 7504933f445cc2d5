"""Files in folders of images."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def files_in(folder: Path, left_out: Path | None = None) -> Iterator[Path]:
    """Files of a folder and those within it, in order of name; links to folders are followed.

    Parameters
    ----------
    folder : Path
        Hidden files and folders in it do not count.
    left_out : Path, optional
        A folder that is not looked into, such as that of results.
    """
    seen = {os.path.realpath(folder)}  # each once: links may lead back
    if left_out is not None:
        seen.add(os.path.realpath(left_out))
    for parent, folders, names in os.walk(folder, followlinks=True):
        inner = sorted(_shown(folders))
        folders.clear()
        for name in inner:
            real = os.path.realpath(Path(parent, name))
            if real not in seen:
                seen.add(real)
                folders.append(name)
        yield from (Path(parent) / name for name in sorted(_shown(names)))


def _shown(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]
