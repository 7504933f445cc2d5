"""What is around a training: the folder's lock, and the signal to stop."""

import contextlib
import errno
import signal
import subprocess
import sys

import pytest
import torch

from renal.errors import InputError, Stopped
from renal.learn import launch, training
from tests.unit.learn.helpers import train

pytestmark = pytest.mark.usefixtures("one_cpu_thread")


def test_a_stop_is_overdue_once_its_time_has_passed(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(launch.time, "monotonic", lambda: now)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with launch.stop_signal() as stop:
        assert not stop.is_set and not stop.is_overdue
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set and not stop.is_overdue
        now += launch.SECONDS_TO_END_AN_EPOCH
        signal.raise_signal(signal.SIGINT)  # being told again gives no more time
        assert stop.since == 1000.0 and not stop.is_overdue
        now += 0.1
        assert stop.is_set and stop.is_overdue
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


HOLD_LOCK = """
import fcntl, sys
stream = open(sys.argv[1], "w")
fcntl.flock(stream, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_second_process_in_the_same_folder_is_refused(prepared, tmp_path):
    command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path / "state.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="another process is training here") as error:
            train(prepared, tmp_path)
        assert str(tmp_path) in str(error.value)
        assert not (tmp_path / "model.safetensors").exists()
        other.stdin.close()
    train(prepared, tmp_path, epochs=1)  # the lock went with the process


def test_without_locks_it_trains_and_says_so(prepared, tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(launch.fcntl, "flock", flock)
    train(prepared, tmp_path, epochs=1)
    assert "locks are not known here" in caplog.text
    assert (tmp_path / "model.safetensors").exists()


def test_another_fault_of_the_lock_is_no_lock(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(launch.fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), launch.only_writer(tmp_path):
        pytest.fail("trains without a lock")


def test_the_folder_is_locked_while_training(prepared, tmp_path, monkeypatch):
    original = training._epoch

    def second_start(*arguments):
        with pytest.raises(InputError, match="another process"), launch.only_writer(tmp_path):
            pass
        return original(*arguments)

    monkeypatch.setattr(training, "_epoch", second_start)
    train(prepared, tmp_path, epochs=1)
    with launch.only_writer(tmp_path):
        pass


@pytest.mark.parametrize(
    ("fault", "left"), [(None, ["left"]), (Stopped(), ["left"]), (InputError(), [])]
)
def test_processes_on_gpus_have_one_each_and_join_by_both_ways(monkeypatch, fault, left):
    """Flags are agreed upon on the CPU, gradients on the GPUs.

    With a fault of its own a process does not wait until the others leave, too.
    """
    told = []
    monkeypatch.setattr(launch, "started_by_torchrun", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: told.append(number))
    monkeypatch.setattr(launch.distributed, "init_process_group", told.append)
    monkeypatch.setattr(launch.distributed, "destroy_process_group", lambda: told.append("left"))
    monkeypatch.setenv("LOCAL_RANK", "3")
    ends = pytest.raises(type(fault)) if fault else contextlib.nullcontext()
    with ends, launch.joined():
        assert told == [3, "cpu:gloo,cuda:nccl"]
        if fault:
            raise fault
    assert told[2:] == left
