"""Several cases at once."""

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Any

from renal.errors import InputError

# Words of SimpleITK and torch, whose errors are RuntimeErrors.
NO_MEMORY = re.compile("allocate|enough memory|out of memory")


def for_each(cases: list[Any], work: Callable[[Any], Any], threads: int) -> list[Any]:
    """Do `work` on every case, as many at a time as there are `threads`; results in order.

    Raises
    ------
    InputError
        If memory does not suffice, with the case's name.
    """
    work = partial(_told_by_name, work)
    if threads == 1 or len(cases) < 2:
        _one_thread_each()
        return [work(case) for case in cases]
    pool = ProcessPoolExecutor(
        min(threads, len(cases)), get_context("fork"), initializer=_begin_worker
    )
    try:
        with pool:
            return list(pool.map(work, cases))
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process was killed, mostly for want of memory: "
            "lower compute.prepare_threads in config.yaml"
        ) from error


def _told_by_name(work: Callable[[Any], Any], case: Any) -> Any:
    remedy = (
        "look at its size and spacing in cases.csv, or lower compute.prepare_threads in config.yaml"
    )
    with telling_of_memory(getattr(case, "name", case), remedy):
        return work(case)


@contextlib.contextmanager
def telling_of_memory(name: str, remedy: str) -> Iterator[None]:
    """Raise an InputError with a name where memory does not suffice, whichever library met it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not NO_MEMORY.search(str(error)):
            raise
        words = " ".join(str(error).split())
        told = f"not enough memory ({words})" if words else "not enough memory"
        raise InputError(f"{name}: {told}: {remedy}") from error


def _begin_worker() -> None:
    # A pool ends its workers by SIGTERM where one of them died; taken for an interruption of the
    # case at hand, they would wait for the next one for ever.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _one_thread_each()


def _one_thread_each() -> None:
    import SimpleITK as sitk  # which those that only tell of memory need not load

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
