"""Memory that is kept for what comes next, and what is given back."""

import ctypes
import os

# Parameters of glibc's mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def take_large_pages() -> None:
    """Have torch take blocks of 2 MB and more in large pages; to be called before it takes any."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_freed_memory() -> None:
    """Have freed blocks used again instead of given back, as the rules do by MALLOC variables.

    Else glibc has large blocks zeroed anew by the system for every layer of a network. Other C
    libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        mallopt(parameter, LARGEST)


def give_back_freed_memory() -> None:
    """Have glibc give back what is free amid its heap, of which reading models leaves much."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return
    trim(0)
