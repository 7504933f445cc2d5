"""How far a run is: a bar on a terminal, lines elsewhere."""

import sys
import time
from typing import TextIO

WIDTH = 24  # characters of the bar


class Progress:
    """Tells case, stage and the time that is left.

    Parameters
    ----------
    cases : int
        How many there are.
    stages : int
        How many stages are told of each.
    stream : file, optional
        Where to; otherwise to stderr.
    """

    def __init__(self, cases: int, stages: int, stream: TextIO | None = None) -> None:
        self._cases, self._stages = cases, stages
        self._stream = stream or sys.stderr
        self._bar = self._stream.isatty()
        self._started = time.monotonic()
        self._case, self._name, self._stage = 0, "", 0

    def begin(self, name: str) -> None:
        """The next case begins."""
        self._name, self._stage = name, 0
        self._case += 1

    def stage(self, name: str) -> None:
        """A stage of it begins."""
        if self._bar:
            done = ((self._case - 1) + min(self._stage / self._stages, 1)) / self._cases
            bar = ("#" * round(WIDTH * done)).ljust(WIDTH)
            self._write(
                f"[{bar}] {self._case}/{self._cases} {self._name}: {name}{self._left(done)}"
            )
        self._stage += 1

    def tell(self, text: str) -> None:
        """A line that stays."""
        if self._bar:
            self._write("")
        left = self._left(self._case / self._cases) if self._case < self._cases else ""
        self._stream.write(f"{self._case} of {self._cases}: {self._name}: {text}{left}\n")
        self._stream.flush()

    def _left(self, done: float) -> str:
        if done == 0:
            return ""
        seconds = round((time.monotonic() - self._started) * (1 - done) / done)
        return f", {seconds // 60}:{seconds % 60:02d} left"

    def _write(self, text: str) -> None:
        self._stream.write(f"\r\x1b[2K{text}")
        self._stream.flush()
