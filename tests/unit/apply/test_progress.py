"""The bar on a terminal, and lines elsewhere."""

import io

import pytest

from renal.apply import progress
from renal.apply.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Ten seconds go by from one question to the next."""
    seconds = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    told = Progress(2, 2, stream)
    told.begin("a")
    told.stage("read")
    told.tell("segmented")
    told.begin("b")
    told.tell("segmented")
    assert stream.getvalue() == "1 of 2: a: segmented, 0:10 left\n2 of 2: b: segmented\n"


def test_a_bar_on_a_terminal(clock):
    stream = Terminal()
    told = Progress(2, 2, stream)
    told.begin("a")
    told.stage("read")
    told.stage("whole")
    assert stream.getvalue().split("\r\x1b[2K")[1:] == [
        f"[{' ' * 24}] 1/2 a: read",
        f"[{'#' * 6}{' ' * 18}] 1/2 a: whole, 0:30 left",
    ]
    told.tell("segmented")
    assert stream.getvalue().endswith("\r\x1b[2K1 of 2: a: segmented, 0:20 left\n")
