"""Tests of the plain U-Net."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from renal.learn.networks import unet
from tests.unit.learn.networks.helpers import (
    assert_kernels_learn,
    counted,
    layers_of,
    parameter_count,
)

PLAIN = {"dimensions": 3, "depth": 3, "width": 4, "normalization": "group"}


@pytest.mark.parametrize(("dimensions", "kernel"), [(2, 9), (3, 27)])
def test_parameter_count_of_the_plain_net(dimensions, kernel):
    settings = {**PLAIN, "dimensions": dimensions, "depth": 4, "width": 16}
    with torch.device("meta"):
        network = unet.Network(1, 2, **settings)
    assert parameter_count(network) == counted(kernel, channels_out=2)


def test_parameter_counts_of_the_other_methods_nets():
    with torch.device("meta"):
        coarse = unet.Network(1, 1, dimensions=3, depth=4, width=8, normalization="batch")
        slices = unet.Network(1, 1, dimensions=2, depth=5, width=32, normalization="batch")
    assert parameter_count(coarse) == 1_021_505
    assert parameter_count(slices) == 21_967_553


@pytest.mark.parametrize("normalization", ["batch", "group", "instance"])
@pytest.mark.parametrize("size", [(4, 12, 20), (8, 8, 28)])
def test_volumes_keep_their_size(normalization, size):
    network = unet.Network(1, 2, **{**PLAIN, "normalization": normalization})
    (logits,) = network(torch.randn(2, 1, *size))
    assert logits.shape == (2, 2, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("context", [1, 3])
def test_slices_give_the_middle_one(context):
    network = unet.Network(context, 2, **{**PLAIN, "dimensions": 2})
    (logits,) = network(torch.randn(2, 1, context, 12, 20))
    assert logits.shape == (2, 2, 1, 12, 20)


@pytest.mark.parametrize("neighbour", [0, 1, 2])
def test_every_neighbouring_slice_is_seen(neighbour):
    network = unet.Network(3, 1, **{**PLAIN, "dimensions": 2}).eval()
    image = torch.randn(1, 1, 3, 12, 12)
    other = image.clone()
    other[:, :, neighbour] += torch.randn(12, 12)
    with torch.inference_mode():
        assert not torch.allclose(network(image)[0], network(other)[0])


@pytest.mark.parametrize(
    ("normalization", "kind"),
    [("batch", nn.BatchNorm3d), ("group", nn.GroupNorm), ("instance", nn.InstanceNorm3d)],
)
def test_every_convolution_but_the_last_is_normalised(normalization, kind):
    network = unet.Network(1, 1, **{**PLAIN, "normalization": normalization})
    norms = layers_of(network, kind)
    assert len(norms) == len(layers_of(network, nn.Conv3d)) - 1
    assert all(norm.affine for norm in norms)


@pytest.mark.parametrize(("channels", "groups"), [(4, 4), (8, 8), (12, 4), (16, 8), (7, 1)])
def test_groups_divide_the_channels(channels, groups):
    assert unet.group_norm(channels).num_groups == groups


def test_normalisation_comes_before_activation():
    network = unet.Network(1, 1, **PLAIN)
    block = network.unet.encoders[0]
    kinds = [nn.Conv3d, nn.GroupNorm, nn.ReLU]
    assert all(isinstance(layer, kind) for layer, kind in zip(block, 2 * kinds, strict=True))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("normalization", ["batch", "group", "instance"])
def test_every_parameter_of_the_plain_net_learns(dimensions, normalization):
    settings = {**PLAIN, "dimensions": dimensions, "normalization": normalization}
    network = unet.Network(1, 2, **settings)
    size = (8, 16, 16) if dimensions == 3 else (1, 16, 16)
    (logits,) = network(torch.randn(2, 1, *size))
    logits.square().mean().backward()
    assert_kernels_learn(network)


def test_levels_are_joined_by_pooling_skips_and_nearest_neighbours():
    network = unet.Network(1, 1, **{**PLAIN, "depth": 2}).unet
    seen = {}
    for name in ("encoders", "decoders"):
        for level, block in enumerate(getattr(network, name)):
            block.register_forward_hook(
                lambda _, inputs, output, key=(name, level): seen.update({key: (inputs[0], output)})
            )
    network(torch.randn(1, 1, 4, 4, 6))
    top = seen["encoders", 0][1]
    entering, bottom = seen["encoders", 1]
    assert torch.equal(entering, functional.max_pool3d(top, 2))
    up = bottom
    for axis in (2, 3, 4):
        up = up.repeat_interleave(2, dim=axis)
    assert torch.equal(seen["decoders", 0][0], torch.cat([up, top], dim=1))


def test_running_statistics_make_evaluation_the_same_for_any_batch():
    network = unet.Network(1, 1, **{**PLAIN, "normalization": "batch"})
    image = torch.randn(2, 1, 8, 8, 8)
    network(image)
    network.eval()
    with torch.inference_mode():
        together, alone = network(image)[0], network(image[:1])[0]
    assert torch.allclose(together[:1], alone, atol=1e-6)
