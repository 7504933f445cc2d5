"""What tells that files in the data folder are others, without reading them."""

from collections.abc import Iterable
from pathlib import Path

from renal.data.instances import readings_of


def stamps(root: Path, paths: Iterable[Path]) -> list[str]:
    """Name within the data folder, size and time stamp of files.

    Another file in a name's place has another size or time stamp, older ones included.
    """
    found = ((path, path.stat()) for path in paths)
    return [f"{path.relative_to(root)} {s.st_size} {s.st_mtime_ns}" for path, s in found]


def outline_stamps(root: Path, images: Iterable[Path]) -> list[str]:
    """The same of what several annotators outlined, beside images; empty where nobody did."""
    readings = [reading for image in images for reading in readings_of(image)]
    return stamps(root, [path for reading in readings for _, path in reading])
