"""Tests of arrays as tensors, and of padding against NumPy's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from renal.learn.arrays import as_tensor, padded

lengths = st.tuples(*[st.integers(1, 9)] * 3)


def test_an_array_becomes_a_tensor_of_its_own_memory(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(6, dtype=np.float16).reshape(1, 2, 3))
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    tensor = as_tensor(mapped[:, :, ::2])
    assert tensor.tolist() == [[[0, 2], [3, 5]]]
    assert tensor.dtype == torch.float16
    tensor.zero_()
    assert mapped[0, 1, 2] == 5


def test_a_tensor_stays_as_it_is():
    tensor = torch.zeros(2)
    assert as_tensor(tensor) is tensor


@given(shape=lengths, size=lengths, leading=st.sampled_from([(), (2,), (1, 3)]))
def test_padding_is_even_and_has_the_smallest_value(shape, size, leading):
    values = np.random.default_rng(0).normal(size=(*leading, *shape)).astype(np.float32)
    result, place = padded(torch.from_numpy(values), size)
    pads = [(0, 0)] * len(leading)
    for length, wanted in zip(shape, size, strict=True):
        missing = max(0, wanted - length)
        # An odd voxel more lies behind.
        pads.append((missing // 2, missing - missing // 2))
    np.testing.assert_array_equal(result, np.pad(values, pads, constant_values=values.min()))
    np.testing.assert_array_equal(result[..., *place], values)
    assert result.shape[-3:] == tuple(map(max, zip(shape, size, strict=True)))


def test_what_is_large_enough_is_handed_on():
    volume = torch.zeros(3, 4, 5)
    result, place = padded(volume, (1, 4, 5))
    assert result is volume
    assert place == (slice(0, 3), slice(0, 4), slice(0, 5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.uint8, torch.int16])
def test_padding_keeps_the_type(dtype):
    result, _ = padded(torch.ones(1, 1, 1).to(dtype), (2, 2, 2))
    assert result.dtype == dtype and (result == 1).all()
