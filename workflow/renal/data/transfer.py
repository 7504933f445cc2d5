"""One file from a server: resumed where it was cut off, and verified before it has its name.

`requests` is what Snakemake itself fetches with. It knows proxies and their certificates, as
clusters have them, and waits as long as a server asks (Retry-After); going on after a cut is ours.
"""

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import requests
from isal import igzip
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from renal.errors import InputError
from renal.image.volume import UNREADABLE, read_header

log = logging.getLogger(__name__)

SECONDS_TO_ANSWER = 60
ATTEMPTS = 8  # without a byte in between
BACKOFF = 1.0  # seconds, doubled with each attempt
BLOCK = 1 << 20
TEMPORARY = frozenset({429, 500, 502, 503, 504})
# An ending that libraries choose the format by stays at the end.
PART = ".part"


@dataclass(frozen=True)
class RemoteFile:
    """A file as its server lists it.

    Attributes
    ----------
    url : str
        Where it is.
    path : str
        Where to put it, relative to the data folder.
    size : int
        Bytes.
    digest : tuple of str
        ``sha256`` or ``git`` (the SHA-1 of git's blobs), and the hexadecimal digits.
    part : str
        What it is: images, labels, instances.
    case : int, optional
        The number of the case that it belongs to; None for a list of all cases.
    """

    url: str
    path: str
    size: int
    digest: tuple[Literal["sha256", "git"], str]
    part: str = ""
    case: int | None = None


class Unreachable(InputError):
    """A server that does not answer, so that asking it for another file is of no use."""


class Counted(Protocol):
    """What is told how many bytes there are of all files."""

    def there(self, size: int) -> None:
        """Some were there before."""

    def came(self, size: int) -> None:
        """Some came."""

    def in_vain(self, size: int) -> None:
        """Some of these are no good."""


class _Patient(Retry):
    """Says how long it waits before it asks again: as long as the server says, if it says so."""

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        asked = self.get_retry_after(response) if response else None
        if seconds := asked or self.get_backoff_time():
            what = f"status {response.status}" if response else "no answer"
            log.warning("%s: asking again in %.0f s", what, seconds)
        super().sleep(response)


def new_session() -> requests.Session:
    """What asks servers: it keeps connections, and repeats what failed for a time."""
    retry = _Patient(
        total=ATTEMPTS,
        backoff_factor=BACKOFF,
        status_forcelist=TEMPORARY,
        raise_on_status=False,
    )
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # `_Patient` says it in fewer words
    session = requests.Session()
    # Otherwise a server may pack what it sends, and neither size nor hash were those of the file.
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def answer_of(session: requests.Session, url: str, start: int = 0) -> requests.Response:
    """A server's answer, whose body is still to be read, from byte `start` on if it can do that.

    Raises
    ------
    InputError
        If it has no such file, or refuses; `Unreachable` if it does not answer.
    """
    ranged = {"Range": f"bytes={start}-"} if start else {}
    try:
        answer = session.get(url, headers=ranged, stream=True, timeout=SECONDS_TO_ANSWER)
    except requests.RequestException as error:
        raise Unreachable(
            f"{url}: no answer ({_reason(error)}): look at the network or the proxy, then run it "
            "again: it goes on where it stopped"
        ) from error
    if answer.status_code in (200, 206):
        return answer
    answer.close()
    status = f"status {answer.status_code} {answer.reason}".strip()
    if answer.status_code == 404:
        raise InputError(f"{url}: the server has no such file (404): look there in a browser")
    if answer.status_code in (401, 403):
        raise InputError(
            f"{url}: the server refuses ({status}): look there in a browser whether an account or "
            "a wait is needed"
        )
    raise Unreachable(f"{url}: {status}: try again later: it goes on where it stopped")


def fetch_file(
    session: requests.Session, file: RemoteFile, folder: Path, progress: Counted
) -> None:
    """Fetch a file, or go on with it, or see that it is there.

    Parameters
    ----------
    session : requests.Session
        From `new_session`.
    file : RemoteFile
        What to fetch.
    folder : Path
        The data folder.
    progress : Counted
        Is told of bytes.

    Raises
    ------
    InputError
        If another file is there already, another process fetches it, or what came is not what the
        server lists or no whole NIfTI file; `Unreachable` if it could not be brought to its end.
    """
    target = folder / file.path
    if os.path.lexists(target):
        if _fault(target, file):
            raise InputError(
                f"{target}: another file than {file.url}: move it away, or choose another folder"
            )
        progress.there(file.size)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target)
    with part.open("ab") as stream, _nothing_empty_left(part):
        _lock(stream, target)
        begun = stream.tell()
        progress.there(begun)
        _receive(session, file, stream, progress)
        if begun and _fault(part, file):  # the server may have had another file then
            _restart(stream, progress)
            _receive(session, file, stream, progress)
        if fault := _fault(part, file) or _damage(part):
            part.unlink()
            raise InputError(
                f"{target}: {fault}: nothing of it was kept: run it again; if that does not help, "
                f"{file.url} itself is damaged"
            )
        os.fsync(stream.fileno())
        part.rename(target)


@contextmanager
def _nothing_empty_left(part: Path) -> Iterator[None]:
    """Keep what came before an error for the next run, but no empty file or folder."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if part.stat().st_size == 0:
                part.unlink()
            part.parent.rmdir()
        raise


def part_of(target: Path) -> Path:
    """Where a file is kept until it is whole."""
    name, dot, ending = target.name.partition(".")
    return target.with_name(f".{name}{PART}{dot}{ending}")


def _lock(stream: BinaryIO, target: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{target}: another process fetches it: wait for that one") from error
    except OSError:
        log.warning("%s: locks are not known here: start no second one beside this", target)


def _receive(
    session: requests.Session, file: RemoteFile, stream: BinaryIO, progress: Counted
) -> None:
    """Write what is missing of a file behind what is there."""
    idle, reason = 0, ""
    while stream.tell() < file.size:
        if idle == ATTEMPTS:
            raise Unreachable(
                f"{file.url}: cut off {ATTEMPTS} times at {stream.tell()} of {file.size} bytes "
                f"({reason}): run it again: it goes on where it stopped"
            )
        start = stream.tell()
        try:
            with answer_of(session, file.url, start) as answer:
                if start and not _goes_on(answer, start):
                    _restart(stream, progress)
                # What came before a cut is kept, which requests' own iterator throws away.
                while block := answer.raw.read1(BLOCK):
                    progress.came(stream.write(block))
                    if stream.tell() > file.size:  # told by `_fault`
                        break
            reason = "its end was missing"
        except (HTTPError, OSError) as error:
            reason = _reason(error)
        stream.flush()
        idle = idle + 1 if stream.tell() <= start else 0
        if idle:
            time.sleep(BACKOFF * 2 ** (idle - 1))


def _goes_on(answer: requests.Response, start: int) -> bool:
    """Whether an answer begins at a byte."""
    stated = answer.headers.get("Content-Range", "")
    return answer.status_code == 206 and stated.startswith(f"bytes {start}-")


def _restart(stream: BinaryIO, progress: Counted) -> None:
    progress.in_vain(stream.tell())
    stream.truncate(0)
    stream.seek(0)


def _fault(path: Path, file: RemoteFile) -> str:
    """In what a file is not the one that its server lists; empty if it is."""
    size = path.stat().st_size if path.exists() else 0
    if size != file.size:
        return f"{size} bytes, but its server lists {file.size}"
    kind, digits = file.digest
    known = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "git":
        known.update(f"blob {size}\0".encode())
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            known.update(block)
    if known.hexdigest() != digits:
        return f"its {kind} hash is {known.hexdigest()}, but its server lists {digits}"
    return ""


def _damage(path: Path) -> str:
    """Why a NIfTI file is not whole: its gzip checksum, its header, or its length by its header."""
    if not path.name.endswith(".nii.gz"):
        return ""
    try:
        header = read_header(path)
        voxels = header.nifti.get_data_dtype().itemsize
        for length in header.file_shape:
            voxels *= length
        expected = max(int(header.nifti["vox_offset"]), 352) + voxels
        with igzip.IGzipFile(path, "rb") as stream:
            found = sum(map(len, iter(lambda: stream.read(BLOCK), b"")))
    except InputError as error:
        return str(error).removeprefix(f"{path}: ").rpartition(":")[0]
    except UNREADABLE as error:
        return f"damaged ({error})"
    return "" if found == expected else f"{found} bytes unpacked, its header says {expected}"


def _reason(error: Exception) -> str:
    """The cause of an error of the network in a few words."""
    (cause,) = error.args[:1] or (error,)
    return " ".join(str(getattr(cause, "reason", cause)).split())[:200]
