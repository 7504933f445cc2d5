"""One file from a server that cuts off, lies, refuses or is busy."""

import errno
import fcntl
import gzip
import hashlib
import logging
import os
import subprocess
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from renal.data import transfer
from renal.data.transfer import RemoteFile, Unreachable, fetch_file, new_session, part_of
from renal.errors import InputError

packed = partial(gzip.compress, compresslevel=1, mtime=0)


class Count:
    """Bytes that there are."""

    def __init__(self):
        self.before = self.now = 0

    def there(self, size):
        self.before += size

    def came(self, size):
        self.now += size

    def in_vain(self, size):
        self.before -= size


@pytest.fixture(scope="module")
def volume():
    """A label map whose file is large enough to be cut several times."""
    voxels = np.random.default_rng(0).integers(0, 2, (40, 64, 64), np.uint8)
    return packed(nib.Nifti1Image(voxels, np.diag([1, 2, 3, 1])).to_bytes())


@pytest.fixture
def get(official, tmp_path):
    """Fetches a content that the server has; gives where it is put and what was counted."""
    count = Count()

    def fetch(content, *faults, name="a.nii.gz", **changed):
        official.files[f"/{name}"] = content
        official.fail(f"/{name}", *faults)
        digest = ("sha256", hashlib.sha256(content).hexdigest())
        known = {"size": len(content), "digest": digest, **changed}
        file = RemoteFile(f"{official.servers.hub}/{name}", name, **known)
        with new_session() as session:
            fetch_file(session, file, tmp_path / "data", count)
        return tmp_path / "data" / name, count

    return fetch


def cut(at):
    """Ends the connection after some bytes, although more were announced."""
    return lambda handler, content: handler.reply(
        206 if handler.start else 200,
        content[handler.start : at],
        length=len(content) - handler.start,
        **(
            {"Content-Range": f"bytes {handler.start}-{len(content) - 1}/{len(content)}"}
            if handler.start
            else {}
        ),
    )


def answering(status, **headers):
    return lambda handler, content: handler.reply(status, b"busy", **headers)


def test_a_whole_file_has_its_name_and_nothing_else_is_left(get, volume):
    path, count = get(volume)
    assert path.read_bytes() == volume
    assert list(path.parent.iterdir()) == [path]
    assert (count.before, count.now) == (0, len(volume))


def test_it_goes_on_where_it_was_cut(get, official, volume):
    path, count = get(volume, cut(1000), cut(1000), cut(5000))
    assert path.read_bytes() == volume
    assert official.asked_for("/a.nii.gz") == [0, 1000, 1000, 5000]
    assert (count.before, count.now) == (0, len(volume))


def test_what_an_earlier_run_left_is_used(get, official, volume, tmp_path):
    part = part_of(tmp_path / "data/a.nii.gz")
    part.parent.mkdir()
    part.write_bytes(volume[:2000])
    path, count = get(volume)
    assert path.read_bytes() == volume
    assert official.asked_for("/a.nii.gz") == [2000]
    assert (count.before, count.now) == (2000, len(volume) - 2000)


@pytest.mark.parametrize("left", [b"of an older version" * 9, b"x" * 10**6], ids=["other", "long"])
def test_what_is_left_of_another_file_is_fetched_anew(get, official, volume, tmp_path, left):
    part = part_of(tmp_path / "data/a.nii.gz")
    part.parent.mkdir()
    part.write_bytes(left)
    path, count = get(volume)
    assert path.read_bytes() == volume
    assert official.asked_for("/a.nii.gz")[-1] == 0
    assert count.before + count.now == len(volume)


@pytest.mark.parametrize("honest", [True, False], ids=["whole", "elsewhere"])
def test_a_server_that_does_not_go_on_sends_all_of_it(get, volume, honest):
    def ignore(handler, content):
        headers = {} if honest else {"Content-Range": f"bytes 7-{len(content) - 1}/{len(content)}"}
        handler.reply(200 if honest else 206, content, **headers)

    path, count = get(volume, cut(1000), ignore)
    assert path.read_bytes() == volume
    assert count.before + count.now == len(volume)


def test_a_server_that_is_busy_is_asked_again_when_it_says(get, official, volume, caplog):
    busy = answering(429, **{"Retry-After": "1"})
    with caplog.at_level(logging.WARNING, logger="renal"):
        path, _ = get(volume, busy, answering(503), answering(500))
    assert path.read_bytes() == volume
    assert len(official.asked_for("/a.nii.gz")) == 4
    assert "status 429: asking again in 1 s" in caplog.messages


def test_a_server_that_stays_busy(get, official, volume, monkeypatch):
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    with pytest.raises(Unreachable, match=r"a\.nii\.gz: status 503 .*: try again later"):
        get(volume, *[answering(503)] * 3)
    assert len(official.asked_for("/a.nii.gz")) == 3


def test_a_server_that_sends_nothing_keeps_what_came(get, official, volume, tmp_path):
    with pytest.raises(Unreachable, match=r"cut off 8 times at 1000 of .* bytes .*run it again"):
        get(volume, *[cut(1000)] * 9)
    assert part_of(tmp_path / "data/a.nii.gz").read_bytes() == volume[:1000]
    assert not (tmp_path / "data/a.nii.gz").exists()


def test_no_server(volume, tmp_path, monkeypatch, official):
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    file = RemoteFile("http://127.0.0.1:9/a.nii.gz", "a.nii.gz", 9, ("sha256", ""))
    with new_session() as session, pytest.raises(Unreachable, match=r"no answer .*refused"):
        fetch_file(session, file, tmp_path, Count())
    assert not (tmp_path / "a.nii.gz").exists()


@pytest.mark.parametrize(
    ("status", "told"),
    [(404, r"the server has no such file \(404\)"), (403, "refuses"), (401, "refuses")],
)
def test_a_file_that_is_not_to_be_had_is_told_in_one_line(get, volume, status, told):
    with pytest.raises(InputError, match=f"^http://.*/a.nii.gz: .*{told}") as fault:
        get(volume, answering(status))
    assert not isinstance(fault.value, Unreachable)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"size": 10**6}, None),
        ({"size": 5000}, "bytes, but its server lists 5000"),
        ({"digest": ("sha256", "0" * 64)}, "sha256 hash"),
        ({"digest": ("git", "0" * 40)}, "git hash"),
    ],
)
def test_another_file_than_the_server_lists_is_not_kept(get, volume, tmp_path, changed, told):
    with pytest.raises(InputError, match=told or "cut off 8 times") as fault:
        get(volume, **changed)
    assert not (tmp_path / "data/a.nii.gz").exists()
    assert told is None or not list((tmp_path / "data").iterdir())
    assert "\n" not in str(fault.value)


def damaged(volume):
    raw = gzip.decompress(volume)
    wrong_sum = volume[:-8] + bytes([volume[-8] ^ 1]) + volume[-7:]
    return {
        "cut off": volume[: len(volume) // 2],
        "checksum": wrong_sum,
        "not packed": raw,
        "text": packed(b"<html>" * 100),
        "short": packed(raw[:-5]),
        "long": packed(raw + b"12345"),
    }


@pytest.mark.parametrize("kind", ["cut off", "checksum", "not packed", "text", "short", "long"])
def test_a_file_that_is_damaged_on_the_server_is_not_kept(get, volume, tmp_path, kind):
    """Though its size and hash are those that the server lists."""
    with pytest.raises(InputError, match=r"a\.nii\.gz: .*: nothing of it was kept") as fault:
        get(damaged(volume)[kind])
    assert not list((tmp_path / "data").iterdir())
    assert part_of(tmp_path / "data/a.nii.gz").name not in str(fault.value)


def test_what_is_no_volume_is_not_read_as_one(get):
    path, _ = get(b"[]", name="kits.json")
    assert path.read_bytes() == b"[]"


def test_what_is_there_is_verified_and_not_fetched(get, official, volume):
    path, count = get(volume)
    assert get(volume)[0] == path
    assert official.asked_for("/a.nii.gz") == [0]
    assert (count.before, count.now) == (len(volume), len(volume))
    path.write_bytes(volume[:-1] + b"x")  # such as a label that somebody mended
    with pytest.raises(InputError, match=r"a\.nii\.gz: another file than .*: move it away"):
        get(volume)
    assert path.read_bytes() == volume[:-1] + b"x"


def test_two_at_once_do_not_write_one_file(get, volume, tmp_path):
    part = part_of(tmp_path / "data/a.nii.gz")
    part.parent.mkdir()
    with part.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process fetches it"):
            get(volume)


def test_without_locks_it_fetches_and_says_so(get, volume, monkeypatch, caplog):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    path, _ = get(volume)
    assert path.read_bytes() == volume
    assert f"{path}: locks are not known here: start no second one beside this" in caplog.text


def test_hashes_of_git_are_those_that_git_prints(get, volume, tmp_path):
    (tmp_path / "blob").write_bytes(volume)
    run = subprocess.run(
        ["git", "hash-object", str(tmp_path / "blob")], capture_output=True, text=True, check=True
    )
    path, _ = get(volume, digest=("git", run.stdout.strip()))
    assert path.read_bytes() == volume
