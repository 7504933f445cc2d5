"""GPUs: every step has its own, waits while others have them all, and gives it back by ending."""

import itertools
import multiprocessing
import os
import shutil
import time

import pytest
import torch

from renal.cluster import gpus
from renal.errors import InputError


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8f6d")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(gpus, "SECONDS_BETWEEN_TRIES", 0.02)
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr(gpus, "refuse_unusable", lambda: None)


def hold(count, seconds, results):
    """Claim GPUs, note when, and end after some seconds."""
    gpus.claim_gpus(count)
    started = time.monotonic()
    time.sleep(seconds)
    results.put((os.environ["CUDA_VISIBLE_DEVICES"], started, time.monotonic()))


def run_steps(counts):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    steps = [context.Process(target=hold, args=(count, 0.15, results)) for count in counts]
    for step in steps:
        step.start()
    told = [results.get(timeout=20) for _ in steps]
    for step in steps:
        step.join()
    return told


def test_no_two_steps_at_once_have_the_same_gpu(two_gpus):
    told = run_steps([1] * 8)
    assert {names for names, _, _ in told} == {"2", "GPU-8f6d"}
    for name in ("2", "GPU-8f6d"):
        spans = sorted((start, end) for names, start, end in told if names == name)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_several_gpus_are_taken_at_once(two_gpus):
    told = run_steps([2, 1, 2, 1])
    assert sorted(names for names, _, _ in told).count("2,GPU-8f6d") == 2
    both = [(start, end) for names, start, end in told if "," in names]
    others = [(start, end) for names, start, end in told if "," not in names]
    for start, end in both:
        assert all(end <= first or last <= start for first, last in others)


def test_more_than_there_are_gives_all(two_gpus):
    assert [names for names, _, _ in run_steps([5])] == ["2,GPU-8f6d"]


def test_local_steps_within_an_allocation_have_a_gpu_each(two_gpus, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    told = run_steps([1] * 4)
    assert {names for names, _, _ in told} == {"2", "GPU-8f6d"}


def test_jobs_of_slurm_do_not_wait_for_each_other(two_gpus, monkeypatch):
    """Each may see its own GPU as number 0."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    for job in ("7", "8"):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        assert gpus.claim_gpus() == 1


def test_hidden_gpus_are_not_claimed(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.visible_gpus() == []
    gpus.claim_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    ("listed", "there", "seen"),
    [(None, 2, ["0", "1"]), ("1,-1,0", 2, ["1"]), ("-1", 0, []), ("", 2, []), ("3", 0, ["3"])],
)
def test_gpus_are_those_that_cuda_sees(monkeypatch, tmp_path, listed, there, seen):
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    for number in range(there):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    if listed is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert gpus.visible_gpus() == seen


def test_gpus_that_a_negative_number_hides_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "DEVICES", tmp_path)
    (tmp_path / "nvidia0").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(InputError, match=r"CUDA_VISIBLE_DEVICES=-1 hides .* unset it"):
        gpus.claim_gpus()


# -- GPUs that torch cannot use -------------------------------------------------------------------


@pytest.fixture
def torch_for_cuda(monkeypatch):
    """A torch that is built for GPUs, and one that it can use."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90", "compute_90"])


def test_a_build_for_the_cpu_is_refused(torch_for_cuda, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(InputError, match="build for the CPU alone: install another"):
        gpus.refuse_unusable()


def test_an_old_driver_is_refused_with_what_torch_says(torch_for_cuda, monkeypatch):
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found 12080). Please ...")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(
        InputError, match=r"CUDA 13.0 .*too old \(found 12080\)\): update the driver"
    ):
        gpus.refuse_unusable()


@pytest.mark.parametrize(
    ("capability", "runs"), [((7, 0), False), ((8, 0), True), ((8, 9), True), ((10, 0), True)]
)
def test_an_architecture_that_is_not_built_for_is_refused(
    torch_for_cuda, monkeypatch, capability, runs
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    if runs:
        gpus.refuse_unusable()
        return
    with pytest.raises(InputError, match=r"NVIDIA H100 .*sm_70.*sm_80, sm_90"):
        gpus.refuse_unusable()


@pytest.mark.parametrize(
    ("built", "capability", "runs"),
    [("sm_90a", (9, 0), True), ("sm_90a", (10, 0), False), ("compute_120", (12, 1), True)],
)
def test_code_for_one_architecture_alone(built, capability, runs):
    assert gpus._runs_on(built, capability) == runs


def test_a_step_that_was_given_a_gpu_does_not_go_on_without(monkeypatch, tmp_path):
    """On this machine, whose torch is for the CPU or finds no such GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-none")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(gpus, "_held", [])
    with pytest.raises(InputError, match="another build"):
        gpus.claim_gpus()


# -- locks ----------------------------------------------------------------------------------------


def test_a_link_in_the_place_of_a_lock_is_not_followed(two_gpus, tmp_path):
    """Neither that of the lock nor that of its folder: what it points to would be emptied."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    folder = tmp_path / f"renal-{os.getuid()}"
    for name in ("gpu-2.lock", f"renal-{os.getuid()}-gpu-2.lock"):
        (tmp_path / name).symlink_to(precious)
    gpus.claim_gpus()
    assert precious.read_text() == "kept"
    assert folder.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path)
    with pytest.raises(InputError, match="cannot be used for the locks"):
        gpus.claim_gpus()


def test_a_folder_of_locks_that_is_open_to_others_is_refused(two_gpus, tmp_path):
    folder = tmp_path / f"renal-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(InputError, match="open to others"):
        gpus.claim_gpus()


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("has", [False, True])
def test_bfloat16_is_for_cpus_that_have_it(monkeypatch, caplog, asked, has):
    capabilities = {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": has}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(gpus, "visible_gpus", lambda: [])
    assert gpus.bfloat16_on_cpu(asked) == (asked and has)
    assert len(caplog.messages) == (asked and not has)
    monkeypatch.setattr(gpus, "visible_gpus", lambda: ["0"])
    assert gpus.bfloat16_on_cpu(asked) == asked  # a GPU has a precision of its own
