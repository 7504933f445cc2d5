"""Transposed convolutions as products of matrices: torch's own numbers, with channels last."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from renal.learn.transposed import take_products


@torch.inference_mode()
@pytest.mark.parametrize("stride", [(2, 2, 2), (1, 2, 2)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_product_gives_torchs_numbers_with_channels_last(stride, bias):
    torchs = nn.Sequential(nn.ConvTranspose3d(3, 4, stride, stride=stride, bias=bias))
    ours = deepcopy(torchs)
    take_products(ours)
    x = torch.randn(2, 3, 4, 5, 6)
    found = ours(x)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(found, torchs(x), atol=1e-6, rtol=1e-5)


@torch.inference_mode()
def test_kernels_that_overlap_stay_as_they_are():
    torchs = nn.ConvTranspose3d(3, 4, 3, stride=2, padding=1)
    ours = deepcopy(torchs)
    take_products(ours)
    x = torch.randn(1, 3, 4, 5, 6)
    assert torch.equal(ours(x), torchs(x))
