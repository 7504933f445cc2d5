"""Series from an archive (PACS) by DICOMweb, and results back into it: QIDO, WADO and STOW.

Nothing half-sent is used: a series counts once all of its instances are here. Nothing is lost: a
result lies on disk before it is sent, and sending it twice stores it once, as its UID is the same.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from renal.errors import InputError
from renal.image.dicom_headers import pydicom
from renal.image.dicom_series import series_name

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

SECONDS = 60.0  # without a byte, after which an archive counts as gone
ATTEMPTS = 3  # where an archive says that it is busy
AS_STORED = (("application/dicom", "*"),)  # many an archive cannot unpack JPEG 2000
LARGEST_RESULT = 1 << 30  # bytes that are sent in one piece
MODALITY, SERIES_UID, INSTANCE_UID = "00080060", "0020000E", "00080018"


@contextmanager
def fetched(url: str, study: str, wanted: Sequence[str]) -> Iterator[Path]:
    """CT series of a study in a folder that is deleted afterwards.

    Parameters
    ----------
    url : str
        Of the archive's DICOMweb service, such as ``http://localhost:8042/dicom-web``.
    study : str
        Study Instance UID.
    wanted : sequence of str
        Names or UIDs of series; others are not fetched. All CT series where it is empty or
        ``all``.

    Raises
    ------
    InputError
        If the archive does not answer, or sends less than all of a series.
    """
    with tempfile.TemporaryDirectory(prefix="renal-") as name:
        folder = Path(name)
        with _told(url, "nothing was segmented"):
            _fetch(_client(url), url, study, wanted, folder)
        yield folder


def _fetch(client: "DICOMwebClient", url: str, study: str, wanted: Sequence[str], to: Path) -> None:
    found = client.search_for_series(study, get_remaining=True)
    uids = [_value(series, SERIES_UID) for series in found if _value(series, MODALITY) == "CT"]
    if wanted and list(wanted) != ["all"]:
        uids = [uid for uid in uids if {uid, series_name(uid)} & set(wanted)]
    if not uids:
        raise InputError(f"{_shown(url)}: no such CT series in study {study}: check the UID")
    for number, uid in enumerate(uids):
        _fetch_series(client, url, study, uid, to / str(number))


def _fetch_series(client: "DICOMwebClient", url: str, study: str, uid: str, folder: Path) -> None:
    listed = client.search_for_instances(study, uid, get_remaining=True)
    expected = {_value(instance, INSTANCE_UID) for instance in listed}
    folder.mkdir()
    received = set()
    for instance in client.iter_series(study, uid, media_types=AS_STORED):
        received.add(str(instance.SOPInstanceUID))
        instance.save_as(folder / f"{len(received):05d}.dcm", enforce_file_format=True)
    if missing := expected - received:
        raise InputError(
            f"{_shown(url)}: {len(expected) - len(missing)} of {len(expected)} images of a series "
            "came: nothing was segmented: run again"
        )


def store(url: str, path: Path) -> None:
    """Send a result to an archive.

    Parameters
    ----------
    url : str
        Of the archive's DICOMweb service.
    path : Path
        A DICOM file; it stays where it is.

    Raises
    ------
    InputError
        If the archive does not answer, or refuses it.
    """
    with _told(url, f"{path} is kept"):
        instance = pydicom().dcmread(path)
        answer = _client(url, chunk_size=LARGEST_RESULT).store_instances([instance])
        stored = {item.ReferencedSOPInstanceUID for item in answer.get("ReferencedSOPSequence", [])}
        if instance.SOPInstanceUID not in stored:
            reasons = [int(item.FailureReason) for item in answer.get("FailedSOPSequence", [])]
            why = f" (failure reason {reasons[0]:04X})" if reasons else ""
            raise InputError(
                f"{_shown(url)}: the result was refused{why}: {path} is kept: "
                "ask who keeps the archive"
            )


def check_address(url: str) -> None:
    """Refuse, before hours of work, what nothing can be sent to.

    Raises
    ------
    InputError
        If it is no address, holds a password, or the library is not installed.
    """
    with _told(url, "nothing was segmented"):
        _client(url)


def _client(url: str, **options: Any) -> "DICOMwebClient":
    pydicom()
    try:
        from dicomweb_client import DICOMwebClient
    except ImportError:
        raise InputError(
            "DICOMweb needs more libraries: `make setup` installs them; otherwise "
            "pip install -e '.[dicom]' in the clone"
        ) from None
    if "@" in urlsplit(url).netloc:
        raise InputError(f"{_shown(url)}: a password in the address is seen by all: use ~/.netrc")
    client = DICOMwebClient(url, timeout=SECONDS, **options)
    client.set_http_retry_params(max_attempts=ATTEMPTS)
    return client


@contextmanager
def _told(url: str, kept: str) -> Iterator[None]:
    """Tell what goes wrong on the way to an archive in one line, without what was sent."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # those of four libraries; their words may hold what was sent
        last = getattr(error, "last_attempt", None)  # of several
        answer = getattr(error, "response", None) if last is None else last.value
        status = getattr(answer, "status_code", None)
        local = getattr(error, "strerror", None)  # of a full disk; a network's errors have none
        told = f"status {status}" if status else local or type(error).__name__
        raise InputError(
            f"{_shown(url)}: no answer of DICOMweb ({told}): {kept}: check address and UID, and "
            "run again when it answers"
        ) from error


def _shown(url: str) -> str:
    """An address without a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _value(item: dict[str, Any], tag: str) -> str:
    return str(next(iter(item.get(tag, {}).get("Value", [])), ""))
