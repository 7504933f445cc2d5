"""Denormal numbers are 0 in trainings, in all threads, and are as ever afterwards."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial import KDTree

from renal.learn.denormals import denormals_as_zero

PROGRAM = """
from threading import Thread
import torch
from renal.learn.denormals import denormals_as_zero
torch.set_num_threads(2)
def count():
    print(int((torch.full((1 << 20,), 1e-30) * 1e-10).count_nonzero()))
with denormals_as_zero():
    count()
    reader = Thread(target=count)
    reader.start()
    reader.join()
"""


def smallest() -> float:
    return float(np.float32(1e-30) * np.float32(1e-10))


def test_no_thread_computes_with_them():
    found = subprocess.check_output([sys.executable, "-c", PROGRAM], text=True)
    assert found.split() == ["0", "0"]


def test_what_comes_after_a_training_has_them_even_if_that_fails():
    with pytest.raises(ValueError, match="failed"), denormals_as_zero():
        assert smallest() == 0
        raise ValueError("failed")
    assert smallest() > 0
    assert KDTree(np.zeros((40, 3))).n == 40  # ends the process where they are 0
