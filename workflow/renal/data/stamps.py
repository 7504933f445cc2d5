"""What tells that files that users bring are others, without reading them."""

from collections.abc import Mapping
from pathlib import Path

from renal.data.instances import readings_of


def stamps(files: Mapping[str, Path]) -> list[str]:
    """Name, size and time stamp of files by their names.

    Another file in a name's place has another size or time stamp, older ones included.
    """
    found = ((name, path.stat()) for name, path in files.items())
    return [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in found]


def outline_stamps(images: Mapping[str, Path]) -> list[str]:
    """The same of what several annotators outlined, beside the images of cases; may be empty."""
    return stamps(
        {
            f"{case} {path.name}": path
            for case, image in images.items()
            for reading in readings_of(image)
            for _, path in reading
        }
    )
