"""Several cases at once: results in order, and a worker that was killed is told."""

import os
import signal
from dataclasses import dataclass

import pytest

from renal.errors import InputError
from renal.parallel import for_each


def process_of(_):
    return os.getpid()


def tenfold(number):
    return 10 * number


def killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def bad(number):
    raise InputError(f"case {number}: mend it")


@pytest.mark.parametrize("threads", [1, 2, 9])
def test_results_are_in_order(threads):
    assert for_each([], tenfold, threads) == []
    assert for_each([3, 1, 2], tenfold, threads) == [30, 10, 20]


def test_one_case_or_one_thread_stays_in_this_process():
    assert for_each([1, 2], process_of, 1) == [os.getpid()] * 2
    assert for_each([1], process_of, 2) == [os.getpid()]
    assert os.getpid() not in for_each([1, 2], process_of, 2)


def test_a_fault_comes_through_as_it_is():
    with pytest.raises(InputError, match=r"^case 1: mend it$"):
        for_each([1, 2], bad, 2)


@dataclass
class Named:
    name: str
    error: Exception


def raising(case):
    raise case.error


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.00 TiB"),
        RuntimeError("Exception thrown in SimpleITK\nFailed to allocate memory for image."),
    ],
)
def test_want_of_memory_is_told_with_the_case(threads, error):
    with pytest.raises(InputError, match=r"^case_00007: .*memory.*cases\.csv|allocate") as told:
        for_each([Named("case_00007", error)] * 2, raising, threads)
    assert "\n" not in str(told.value) and str(told.value).startswith("case_00007: ")


def test_another_error_comes_through_as_it_is():
    with pytest.raises(RuntimeError, match=r"^shapes differ$"):
        for_each([Named("case_00007", RuntimeError("shapes differ"))], raising, 1)


def takes_sigterm_for_an_end(_):
    return signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_workers_end_at_once_by_sigterm_whatever_this_process_makes_of_it():
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        assert for_each([1, 2], takes_sigterm_for_an_end, 2) == [True, True]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_killed_worker_is_told_with_what_to_do():
    with pytest.raises(InputError, match="killed, mostly for want of memory") as told:
        for_each([1, 2, 3], killed, 2)
    assert "compute.prepare_threads" in str(told.value) and "\n" not in str(told.value)
