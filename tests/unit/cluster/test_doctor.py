"""What is told about a machine."""

import fcntl
import os
import resource
from pathlib import Path

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


def test_a_controller_that_does_not_answer(alone):
    program(alone, "sbatch", "exit 0")
    program(alone, "sinfo", "echo 'sinfo: error: Unable to contact slurm controller' >&2; exit 1")
    told = found(alone)["SLURM"]
    assert "Unable to contact" in told.found
    assert "controller is up" in told.remedy


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(fcntl, "flock", refuse)
    told = found(tmp_path)["locks"]
    assert "Function not implemented" in told.found
    assert "mount with flock" in told.remedy


def test_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    assert found(tmp_path)["open files"].remedy == "ulimit -n 1024"


def test_a_remedy_stands_beneath_its_finding():
    text = described([Finding("disk", "1 GiB free", "name another"), Finding("torch", "2.13.0")])
    assert text == "! disk   1 GiB free\n         -> name another\n  torch  2.13.0"
