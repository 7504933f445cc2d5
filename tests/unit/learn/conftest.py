"""Cases to learn from, and trainings that several tests look at."""

from pathlib import Path

import pytest
import torch

from tests.unit.learn.helpers import REMEMBERING, trained, write_blocks


@pytest.fixture
def one_cpu_thread(monkeypatch):
    # Bytes repeat on a CPU only, so a GPU is not used where there is one.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """Three cases."""
    return write_blocks(tmp_path_factory.mktemp("prepared"), 3, seed=3)


@pytest.fixture(scope="session")
def uninterrupted(prepared, tmp_path_factory) -> Path:
    """The folder of a run that nothing disturbed."""
    return trained(prepared, tmp_path_factory.mktemp("uninterrupted"))


@pytest.fixture(scope="session")
def remembering(prepared, tmp_path_factory) -> Path:
    """The folder of a run that had much to remember."""
    return trained(prepared, tmp_path_factory.mktemp("remembering"), **REMEMBERING)
