"""What is told about a machine."""

import errno
import fcntl
import os
import resource
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from renal.cluster import doctor, gpus
from renal.cluster.doctor import Finding, described, examine


def found(results: Path) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(results)}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No GPU and no SLURM, whatever this machine has."""
    (devices := tmp_path / "devices").mkdir()
    monkeypatch.setattr(gpus, "DEVICES", devices)
    monkeypatch.setattr(doctor, "DEVICES", devices)
    monkeypatch.setattr(doctor, "DRIVER", tmp_path / "no driver")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (programs := tmp_path / "programs").mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/bin:/usr/bin")
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    path = folder / "programs" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_folder_that_is_not_there_yet_is_looked_at_through_its_parent(tmp_path):
    told = found(tmp_path / "not" / "yet")
    assert f"({tmp_path})" in told["disk"].found
    assert told["locks"].remedy == ""
    assert list(told)[:3] == ["renal", "Python", "torch"]


def test_no_gpu_is_said_and_is_no_fault(tmp_path):
    assert found(tmp_path)["GPUs"] == Finding("GPUs", "none: networks run on the CPU")


def test_a_gpu_that_torch_cannot_use_comes_with_what_to_install(alone, monkeypatch):
    import torch

    (alone / "devices/nvidia0").touch()
    monkeypatch.setattr(torch.version, "cuda", None)
    told = found(alone)["GPUs"]
    assert "build for the CPU alone" in told.found
    assert "install another build" in told.remedy


@pytest.mark.parametrize(("half", "told"), [(True, "bfloat16"), (False, "no bfloat16")])
def test_gpus_and_their_driver_are_told(alone, monkeypatch, half, told):
    import torch

    driver = alone / "driver"
    driver.write_text("NVRM version: NVIDIA 580.1 \nGCC version: 13\n")
    cards = [SimpleNamespace(name=f"H{n}00", total_memory=n * 2**30) for n in (1, 2)]
    monkeypatch.setattr(doctor, "DRIVER", driver)
    monkeypatch.setattr(doctor, "visible_gpus", lambda: ["0", "3"])
    monkeypatch.setattr(doctor, "refuse_unusable", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: cards[number])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: half)
    findings = found(alone)
    assert findings["driver"].found == "NVRM version: NVIDIA 580.1"
    assert findings["GPU 0"] == Finding("GPU 0", f"H100, 1 GiB, {told}")
    assert findings["GPU 3"] == Finding("GPU 3", f"H200, 2 GiB, {told}")


def test_torch_that_is_missing_comes_with_what_to_install(alone, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    told = found(alone)["torch"]
    assert told.found.startswith("cannot be imported: ")
    pinned = f"torch=={metadata.version('torch').partition('+')[0]}"
    assert told.remedy == f"pip install {pinned}"


def test_gpus_that_are_hidden_are_told(alone, monkeypatch):
    (alone / "devices/nvidia0").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    told = found(alone)["GPUs"]
    assert "1 here" in told.found
    assert "unset CUDA_VISIBLE_DEVICES" in told.remedy


def test_partitions_and_their_limits(alone):
    program(alone, "sbatch", "exit 0")
    program(alone, "sinfo", "echo 'gpu* up 2-00:00:00 gpu:a100:4'")
    assert found(alone)["SLURM"].found == "gpu* up, at most 2-00:00:00, gpu:a100:4"


def test_slurm_without_what_snakemake_needs_for_it(alone, monkeypatch):
    program(alone, "sbatch", "exit 0")
    program(alone, "sinfo", "exit 0")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert found(alone)["SLURM"].remedy == "pip install snakemake-executor-plugin-slurm"


def test_no_slurm_is_said_and_is_no_fault(alone, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda program: None)
    told = found(alone)["SLURM"]
    assert told.found.startswith("none on this machine") and told.remedy == ""


def test_a_controller_that_does_not_answer(alone):
    program(alone, "sbatch", "exit 0")
    program(alone, "sinfo", "echo 'sinfo: error: Unable to contact slurm controller' >&2; exit 1")
    told = found(alone)["SLURM"]
    assert "Unable to contact" in told.found
    assert "controller is up" in told.remedy


@pytest.mark.parametrize(
    ("number", "told", "remedy"),
    [
        (errno.ENOSYS, "Function not implemented", "mount with flock"),
        (errno.EACCES, "not to be written", "in which you may write"),
    ],
)
def test_a_file_system_without_locks_or_not_to_be_written(
    tmp_path, monkeypatch, number, told, remedy
):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    locks = found(tmp_path)["locks"]
    assert str(tmp_path) in locks.found and told in locks.found
    assert remedy in locks.remedy


@pytest.mark.parametrize(
    ("limits", "remedy"),
    [
        ((256, 4096), "ulimit -n 1024"),
        ((256, resource.RLIM_INFINITY), "ulimit -n 1024"),
        ((256, 256), "hard limit of 256"),
        ((1024, 4096), ""),
    ],
)
def test_few_open_files(tmp_path, monkeypatch, limits, remedy):
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    told = found(tmp_path)["open files"].remedy
    assert remedy in told and bool(remedy) == bool(told)


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ((3, 10, 12), "tried with"),
        ((3, 11, 0), ""),
        ((3, 12, 1), "segmentation fault"),
        ((3, 12, 9), ""),
        ((3, 13, 5), ""),
        ((3, 14, 0), "tried with"),
    ],
)
def test_a_python_that_was_not_tried_or_that_crashes(tmp_path, monkeypatch, version, remedy):
    monkeypatch.setattr(doctor.sys, "version_info", version)
    told = next(doctor._python()).remedy
    assert remedy in told and bool(remedy) == bool(told)


def test_a_remedy_stands_beneath_its_finding():
    text = described([Finding("disk", "1 GiB free", "name another"), Finding("torch", "2.13.0")])
    assert text == "! disk   1 GiB free\n         -> name another\n  torch  2.13.0"
