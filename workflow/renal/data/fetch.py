"""Downloading KiTS19 and KiTS23 from their official places, in the layout that a run reads."""

import logging
import re
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from renal.data.remote import CHALLENGES, LICENCE, PARTS, Part, Servers, remote_files
from renal.data.transfer import RemoteFile, Unreachable, fetch_file, new_session, part_of
from renal.errors import InputError

log = logging.getLogger(__name__)

GB = 1e9
SPAN = re.compile(r"(\d+)(?:-(\d+))?")
MOST_TOLD = 5  # cases in one line
WIDTH = 24  # characters of the bar
SECONDS_ON_TERMINAL, SECONDS_ELSEWHERE = 0.2, 30.0  # between two lines


def fetch(
    name: str,
    folder: Path,
    *,
    accepted: bool,
    cases: Iterable[str] = (),
    parts: Iterable[Part] = ("images", "labels"),
    servers: Servers | None = None,
) -> None:
    """Fetch some cases of a challenge; what is there already is verified and kept.

    Parameters
    ----------
    name : str
        ``kits19`` or ``kits23``.
    folder : Path
        The data folder, written in the layout of KiTS.
    accepted : bool
        Whether the user accepts the licence.
    cases : iterable of str
        Numbers and ranges such as ``0-299``; all cases without any.
    parts : iterable of str
        What to fetch of each: images, labels, instances.
    servers : Servers, optional
        What stands for the official places.

    Raises
    ------
    InputError
        If the licence is not accepted, a case does not exist, the disk has no room, or a server
        does not answer; at the end, with all files that could not be had.
    """
    if not accepted:
        raise InputError(
            f"{name}: its licence is {LICENCE}: read it, and add --accept-licence if you accept it"
        )
    wanted, parts = _numbers(cases), list(parts)
    with new_session() as session:
        listed = remote_files(session, name, parts, servers or Servers())
        files = _chosen(listed, wanted)
        _tell_missing(name, files, wanted, parts)
        _refuse_full_disk(folder, files)
        progress = TransferProgress(files)
        faults = []
        for file in files:
            progress.begin(file)
            try:
                fetch_file(session, file, folder, progress)
            except Unreachable:
                raise
            except InputError as error:
                faults.append(str(error))
        progress.end()
    if faults:
        raise InputError(
            "\n".join(faults) + f"\n{len(faults)} of {len(files)} files were not fetched; all "
            "others are there"
        )


def _numbers(cases: Iterable[str]) -> set[int]:
    """The numbers of cases that a user names."""
    numbers: set[int] = set()
    for item in cases:
        span = SPAN.fullmatch(item)
        first, last = (int(span[1]), int(span[2] or span[1])) if span else (1, 0)
        if not first <= last <= 99999:
            raise InputError(f"--cases {item}: a number or a range such as 0-299 is expected")
        numbers.update(range(first, last + 1))
    return numbers


def _chosen(listed: list[RemoteFile], wanted: set[int]) -> list[RemoteFile]:
    """The files of the cases that are wanted, or of all, and the lists of all cases."""
    return [file for file in listed if not wanted or file.case in {None, *wanted}]


def _tell_missing(name: str, files: list[RemoteFile], wanted: set[int], parts: list[Part]) -> None:
    """Refuse cases of which there is nothing; say which have an image and no label."""
    of = {part: {file.case for file in files if file.part == part} - {None} for part in PARTS}
    there = set[int | None]().union(*of.values())
    if lost := sorted(wanted - there) or (not there and [*CHALLENGES[name].cases]):
        what = " or ".join(parts)
        raise InputError(f"--cases: {name} has no {what} of {_told(lost)}: choose others")
    bare = sorted(case for case in of["images"] - of["labels"] if case is not None)
    if "labels" in parts and bare:
        log.warning("%s has no label of %s: they can only be segmented", name, _told(bare))


def _told(numbers: list[int]) -> str:
    names = [f"case_{number:05d}" for number in numbers]
    more = f", ... {names[-1]} ({len(names)} cases)" if len(names) > MOST_TOLD else ""
    return ", ".join(names[:MOST_TOLD]) + more


def _refuse_full_disk(folder: Path, files: list[RemoteFile]) -> None:
    needed = sum(file.size for file in files)
    for file in files:
        for path in (folder / file.path, part_of(folder / file.path)):
            needed -= path.stat().st_size if path.is_file() else 0
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: {needed / GB:.1f} GB are to come, {free / GB:.1f} GB are free: make room, "
            "or choose fewer --cases"
        )


class TransferProgress:
    """How far a download is: a bar on a terminal, a line twice a minute elsewhere.

    Parameters
    ----------
    files : list of RemoteFile
        All that are to be fetched.
    stream : file, optional
        Where to; otherwise to stderr.
    """

    def __init__(self, files: list[RemoteFile], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar = self._stream.isatty()
        self._pause = SECONDS_ON_TERMINAL if self._bar else SECONDS_ELSEWHERE
        self._total, self._files = sum(file.size for file in files), len(files)
        self._there = self._came = self._number = 0
        self._path = ""
        self._started = self._told = time.monotonic()

    def begin(self, file: RemoteFile) -> None:
        """The next file begins."""
        self._number += 1
        self._path = file.path
        self._tell()

    def there(self, size: int) -> None:
        """Some bytes were there before."""
        self._there += size
        self._tell()

    def came(self, size: int) -> None:
        """Some bytes came."""
        self._came += size
        self._tell()

    def in_vain(self, size: int) -> None:
        """Some of them are no good, or none of what was there."""
        self._there -= size
        self._tell()

    def end(self) -> None:
        """All files were looked at."""
        self._write(f"{(self._there + self._came) / GB:.2f} GB in {self._number} files are there")
        self._stream.write("\n" if self._bar else "")

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told < self._pause:
            return
        self._told = now
        done = self._there + self._came
        bar = ("#" * round(WIDTH * done / max(self._total, 1))).ljust(WIDTH)
        self._write(
            f"[{bar}] {done / GB:.2f} of {self._total / GB:.2f} GB, file {self._number} of "
            f"{self._files}{self._left(now - self._started)}: {self._path}"
        )

    def _left(self, seconds: float) -> str:
        """The time that is left if bytes come as fast as they did."""
        if self._came <= 0:
            return ""
        left = round((self._total - self._there - self._came) * seconds / self._came)
        return f", {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"

    def _write(self, text: str) -> None:
        self._stream.write(f"\r\x1b[2K{text}" if self._bar else f"{text}\n")
        self._stream.flush()
