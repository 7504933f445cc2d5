"""GPUs: every step has its own, waits while others have them all, and gives it back by ending."""

import itertools
import multiprocessing
import os
import shutil
import time

import pytest

from renal.cluster import gpus
from renal.errors import InputError


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8f6d")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(gpus, "SECONDS_BETWEEN_TRIES", 0.02)
    monkeypatch.setattr(gpus, "_held", [])


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


def test_a_slurm_job_keeps_what_it_was_given(two_gpus, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    gpus.claim_gpus()
    gpus.claim_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,GPU-8f6d"


def test_hidden_gpus_are_not_claimed(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.visible_gpus() == []
    gpus.claim_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


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
