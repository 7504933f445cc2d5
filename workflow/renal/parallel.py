"""Several cases at once."""

import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Any

import SimpleITK as sitk

from renal.errors import InputError


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
    """Do `work`; want of memory is told with the case's name, whichever library met it."""
    try:
        return work(case)
    except (MemoryError, RuntimeError) as error:  # RuntimeError: SimpleITK and torch
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        words = " ".join(str(error).split()) or "no memory left"
        raise InputError(
            f"{getattr(case, 'name', case)}: {words}: look at its size and spacing in cases.csv, "
            "or lower compute.prepare_threads in config.yaml"
        ) from error


def _begin_worker() -> None:
    # A pool ends its workers by SIGTERM where one of them died; taken for an interruption of the
    # case at hand, they would wait for the next one for ever.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _one_thread_each()


def _one_thread_each() -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
