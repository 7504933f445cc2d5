"""GPU memory: cases lie there where steps leave room, and make room where it is short."""

import numpy as np
import pytest
import torch

from renal.errors import InputError
from renal.learn import memory
from renal.learn.datasets import MappedFiles, read_cases

CUDA = torch.device("cuda", 0)
TOTAL = 100_000
SIZE = 3 * 16**3 * 3  # three cases of float16 images and uint8 labels


@pytest.fixture
def cases(prepared):
    return read_cases([prepared])


@pytest.fixture
def gpu(monkeypatch):
    """A card of which a test says how much is free; tensors stay on the CPU."""
    told = {"free": TOTAL, "emptied": 0}

    def emptied():
        told["emptied"] += 1

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (told["free"], TOTAL))
    monkeypatch.setattr(torch.cuda, "empty_cache", emptied)
    monkeypatch.setattr(
        memory.GpuMemory, "_moved", lambda self, array: torch.from_numpy(np.array(array))
    )
    return told


def are_resident(cases) -> bool:
    kinds = {isinstance(part, MappedFiles) for case in cases for part in (case.images, case.labels)}
    assert len(kinds) == 1
    return kinds == {False}


@pytest.mark.parametrize(("more", "expected"), [(0, True), (-1, False)])
def test_cases_lie_on_the_gpu_where_they_fit_beside_what_an_epoch_needed(
    cases, gpu, more, expected
):
    filled = memory.GpuMemory(cases, CUDA)
    assert not are_resident(cases)
    gpu["free"] = SIZE + memory.SPARE * TOTAL + more
    filled.fill()
    assert are_resident(cases) == expected
    gpu["free"] = TOTAL - gpu["free"]
    filled.fill()  # decided once
    assert are_resident(cases) == expected


def test_resident_cases_are_those_of_the_files(cases, gpu, prepared):
    memory.GpuMemory(cases, CUDA).fill()
    for case, other in zip(cases, read_cases([prepared]), strict=True):
        for ours, theirs in ((case.images, other.images), (case.labels, other.labels)):
            for tensor, array in zip(ours, theirs, strict=True):
                assert np.array_equal(tensor.numpy(), array)


def test_on_a_cpu_cases_stay_in_files(cases, gpu):
    memory.GpuMemory(cases, torch.device("cpu")).fill()
    assert not are_resident(cases)


def test_a_card_that_fills_up_while_cases_are_moved_keeps_none(cases, gpu, monkeypatch):
    moved = []

    def full(self, array):
        moved.append(array)
        if len(moved) > 2:
            raise torch.OutOfMemoryError
        return torch.from_numpy(np.array(array))

    monkeypatch.setattr(memory.GpuMemory, "_moved", full)
    memory.GpuMemory(cases, CUDA).fill()
    assert not are_resident(cases)
    assert gpu["emptied"] == 1


def failing(times: int):
    """A step that finds too little memory so many times."""
    calls = []

    def step(*arguments):
        calls.append(arguments)
        if len(calls) <= times:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return arguments

    return step, calls


def test_a_step_without_memory_is_repeated_once_without_resident_cases(cases, gpu):
    spared = memory.GpuMemory(cases, CUDA)
    spared.fill()
    step, calls = failing(1)
    assert spared.spared(step, 1, 2) == (1, 2)
    assert len(calls) == 2
    assert not are_resident(cases)
    assert gpu["emptied"] == 1
    spared.fill()
    assert not are_resident(cases)  # they do not come back to be in the way again


@pytest.mark.parametrize(("filled", "tries"), [(True, 2), (False, 1)])
def test_a_step_that_still_has_too_little_memory_ends_in_one_line_with_advice(
    cases, gpu, filled, tries
):
    spared = memory.GpuMemory(cases, CUDA)
    if filled:
        spared.fill()
    step, calls = failing(3)
    with pytest.raises(InputError, match="lower batch_size of the stage") as error:
        spared.spared(step)
    assert len(calls) == tries
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("on two devices")]
)
def test_a_step_is_repeated_where_the_other_thread_made_room_meanwhile(cases, gpu, error):
    """Steps and the next batch meet the same card, each in its thread."""
    spared = memory.GpuMemory(cases, CUDA)
    spared.fill()
    other, _ = failing(1)

    def step():
        if are_resident(cases):
            spared.spared(other)
            raise error
        return "done"

    assert spared.spared(step) == "done"


def test_other_errors_are_not_taken_for_too_little_memory(cases, gpu):
    spared = memory.GpuMemory(cases, CUDA)
    spared.fill()
    with pytest.raises(RuntimeError, match="of another kind"):
        spared.spared(exec, "raise RuntimeError('of another kind')")
    assert are_resident(cases)


def test_one_of_several_processes_does_not_repeat_what_the_others_do_not(cases, gpu, monkeypatch):
    monkeypatch.setattr(memory, "processes", lambda: 2)
    spared = memory.GpuMemory(cases, CUDA)
    spared.fill()
    step, calls = failing(1)
    with pytest.raises(InputError, match="lower batch_size") as error:
        spared.spared(step)
    assert isinstance(error.value.__cause__, torch.OutOfMemoryError)  # so any of them tells it
    assert len(calls) == 1
