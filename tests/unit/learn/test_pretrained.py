"""Tests of pretrained weights: the right file is loaded, any other is told in one line."""

import hashlib
import http.client
import io
import urllib.error
from pathlib import Path

import pytest
import torch

from renal.errors import InputError
from renal.learn import pretrained
from renal.learn.networks.base_settings import Pretrained

URL = "https://example.org/weights.pth"


def settings_for(content: bytes, digits: int = 64) -> Pretrained:
    digest = hashlib.sha256(content).hexdigest()[:digits]
    return Pretrained(file="weights.pth", url=URL, sha256=digest)


class Network(torch.nn.Module):
    """Keeps the state that it is given, or has something against it."""

    def __init__(self, fault: str | None = None) -> None:
        super().__init__()
        self.fault = fault
        self.given = None

    def load_pretrained(self, state: dict[str, torch.Tensor]) -> None:
        if self.fault is not None:
            raise InputError(self.fault)
        self.given = state


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "weights.pth"
    torch.save({"one": torch.arange(3.0), "two": torch.ones(2)}, path)
    return path


def refused(path: Path, settings: Pretrained, network: Network | None = None) -> str:
    with pytest.raises(InputError) as error:
        pretrained.load_pretrained(network or Network(), path, settings)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


@pytest.mark.parametrize("digits", [8, 64])
def test_a_network_is_given_the_state_dict(weights, digits):
    network = Network()
    pretrained.load_pretrained(network, weights, settings_for(weights.read_bytes(), digits))
    assert list(network.given) == ["one", "two"]
    assert network.given["one"].tolist() == [0, 1, 2]


def test_another_file_is_refused_with_what_it_should_be(weights):
    expected = settings_for(b"other")
    message = refused(weights, expected)
    assert expected.sha256 in message
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in message
    assert f"put {URL} there" in message


def test_a_missing_file_is_told_with_what_belongs_there(tmp_path):
    message = refused(tmp_path / "weights.pth", settings_for(b""))
    assert "cannot be read" in message and f"put {URL} there" in message


def pickled(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>\nnot\nfound\n</html>",
        b"PK\x03\x04 an archive that is cut off",
        pickled({"a": print}),  # what could run code when it is loaded
        pickled([torch.ones(2)]),
        pickled(torch.ones(2)),
    ],
    ids=["empty", "page", "cut off", "program", "list", "tensor"],
)
def test_what_is_no_state_dict_is_told(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    network = Network()
    message = refused(path, settings_for(content), network)
    assert "not a " in message and f"put {URL} there" in message
    assert len(message) < 500
    assert network.given is None


def test_weights_that_do_not_fit_are_told_with_their_file(weights):
    settings = settings_for(weights.read_bytes())
    message = refused(weights, settings, Network("pretrained weights lack conv1.weight"))
    assert message == f"{weights}: pretrained weights lack conv1.weight"


# -- downloading ----------------------------------------------------------------------------------


def answer(monkeypatch, reply: bytes | Exception) -> list[str]:
    """What any address answers from here on; the addresses that were asked for."""
    asked = []

    class Stream(io.BytesIO):
        def read(self, *arguments):
            if isinstance(reply, http.client.IncompleteRead):
                raise reply
            return super().read(*arguments)

    def urlopen(url, timeout):
        asked.append(url)
        assert 0 < timeout < 600
        if isinstance(reply, OSError):
            raise reply
        return Stream(reply if isinstance(reply, bytes) else b"")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


def test_a_file_is_fetched_and_checked(tmp_path, monkeypatch):
    asked = answer(monkeypatch, b"weights")
    pretrained.download(settings_for(b"weights", 8), tmp_path / "new" / "weights.pth")
    assert asked == [URL]
    assert (tmp_path / "new" / "weights.pth").read_bytes() == b"weights"


def test_another_file_than_expected_is_not_kept(tmp_path, monkeypatch):
    answer(monkeypatch, b"page")
    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match=f"{URL} gave another file") as error:
        pretrained.download(settings_for(b"weights"), path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert f"put the right file at {path}" in message and "pretrained: false" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "fault",
    [
        urllib.error.URLError("no route"),
        urllib.error.HTTPError(URL, 404, "Not Found", None, None),
        TimeoutError("timed out"),
        ConnectionResetError("reset"),
        http.client.IncompleteRead(b"half"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_without_a_network_it_says_what_to_put_where(tmp_path, monkeypatch, fault):
    answer(monkeypatch, fault)
    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match="cannot be downloaded") as error:
        pretrained.download(settings_for(b"weights"), path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert f"fetch {URL}" in message and f"put it at {path}" in message
    assert list(tmp_path.iterdir()) == []
