"""Freed blocks are kept where the C library can be told to, and nothing fails where it cannot."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from renal.apply import memory

PROGRAM = """
import resource, sys
from renal.apply.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(20):
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has mallopt")
def test_large_blocks_are_asked_for_once():
    faults = [
        int(subprocess.check_output([sys.executable, "-c", PROGRAM, how])) for how in ("keep", "")
    ]
    assert faults[0] < faults[1] / 2


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: SimpleNamespace())
    memory.keep_freed_memory()
