"""What system and C library are told of memory, and that nothing fails where they cannot be."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from renal.apply import memory

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux and glibc alone")
LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

KEPT = """
import resource, sys
from renal.apply.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(20):
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""

FAULTS = """
import resource, sys
from renal.apply.memory import take_large_pages
if sys.argv[1] == "large":
    take_large_pages()
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.zeros(64 << 18).add_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

RESIDENT = """
from pathlib import Path
from renal.apply.memory import give_back_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
blocks = [bytearray(100_000) for _ in range(2000)]
del blocks[:-1]
before = resident()
give_back_freed_memory()
print(before - resident())
"""


def printed(program: str, *arguments: str) -> int:
    # Without what a test that segments in this process has left.
    own = {key: value for key, value in os.environ.items() if not key.startswith("THP_MEM")}
    return int(subprocess.check_output([sys.executable, "-c", program, *arguments], env=own))


@LINUX
def test_large_blocks_are_asked_for_once():
    assert printed(KEPT, "keep") < printed(KEPT, "") / 2


@LINUX
@pytest.mark.skipif(
    not LARGE_PAGES.exists() or "[madvise]" not in LARGE_PAGES.read_text(),
    reason="the system has large pages for all or for none",
)
def test_large_blocks_are_taken_in_large_pages():
    assert printed(FAULTS, "large") < printed(FAULTS, "small") / 2


@LINUX
def test_what_is_free_amid_the_heap_is_given_back():
    assert printed(RESIDENT) > 150_000_000


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: SimpleNamespace())
    memory.keep_freed_memory()
    memory.give_back_freed_memory()
