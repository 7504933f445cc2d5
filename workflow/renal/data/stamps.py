"""What tells that files that users bring are others, without reading them."""

from collections.abc import Iterable
from pathlib import Path

from renal.data.instances import readings_of


def stamps(paths: Iterable[Path], root: Path | None = None) -> list[str]:
    """Name, within the data folder where one is given, size and time stamp of files.

    Another file in a name's place has another size or time stamp, older ones included.
    """
    found = ((path.relative_to(root) if root else path, path.stat()) for path in paths)
    return [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in found]


def outline_stamps(root: Path, images: Iterable[Path]) -> list[str]:
    """The same of what several annotators outlined, beside images; empty where nobody did."""
    readings = [reading for image in images for reading in readings_of(image)]
    return stamps((path for reading in readings for _, path in reading), root)
