"""Tests of the 3D ResUNet."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from renal.learn.networks import res_unet
from tests.unit.learn.networks.helpers import (
    assert_all_learn,
    entering,
    layers_of,
    parameter_count,
    zero_kernels,
)

RES_UNET = {"width": 2, "dropout": 0.3, "supervised": True}


def test_parameter_count_of_res_unet_is_that_of_the_public_code():
    with torch.device("meta"):
        network = res_unet.Network(1, 1, width=16, dropout=0.3, supervised=True)
        single = res_unet.Network(1, 1, width=16, dropout=0.3, supervised=False)
    assert parameter_count(network) == 9_498_260
    assert parameter_count(network) - parameter_count(single) == (256 + 1) + (128 + 1) + (64 + 1)


def test_logits_differ_from_the_beginning():
    """Public code's weights; from torch's own their deviation is some hundredths at most."""
    torch.manual_seed(0)
    network = res_unet.Network(1, 1, width=8, dropout=0.3, supervised=True).eval()
    for layer in layers_of(network.encoders, nn.Conv3d):
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx((2 / 1.0625 / fan_in) ** 0.5, rel=0.2)
        assert not layer.bias.any()
    with torch.inference_mode():
        outputs = network(torch.randn(1, 1, 16, 32, 32))
    assert all(0.1 < output.std() < 3 for output in outputs)


@pytest.mark.parametrize("channels_out", [1, 2])
def test_four_outputs_have_full_size(channels_out):
    network = res_unet.Network(1, channels_out, **RES_UNET)
    outputs = network(torch.randn(2, 1, 8, 24, 40))
    assert [output.shape for output in outputs] == 4 * [(2, channels_out, 8, 24, 40)]
    assert all(torch.isfinite(output).all() for output in outputs)


def test_coarser_maps_are_interpolated_and_the_finest_comes_last():
    network = res_unet.Network(1, 1, **RES_UNET).eval()
    maps = []
    for layer in network.maps:
        layer.register_forward_hook(lambda _, inputs, output: maps.append(output))
    with torch.inference_mode():
        outputs = network(torch.randn(1, 1, 8, 16, 24))
    assert [tuple(level.shape[2:]) for level in maps] == [
        *((1, 2, 3), (2, 4, 6), (4, 8, 12), (8, 16, 24)),
    ]
    for level, output in zip(maps, outputs, strict=True):
        factor = output.shape[2] // level.shape[2]
        upsampled = functional.interpolate(level, scale_factor=factor, mode="trilinear")
        assert torch.allclose(output, upsampled, atol=1e-6)
    assert torch.equal(maps[-1], outputs[-1])


def test_unsupervised_gives_the_finest_output_alone():
    supervised = res_unet.Network(1, 1, **RES_UNET).eval()
    single = res_unet.Network(1, 1, **{**RES_UNET, "supervised": False}).eval()
    weights = supervised.state_dict()
    for name in ("weight", "bias"):
        weights[f"maps.0.{name}"] = weights[f"maps.3.{name}"]
    single.load_state_dict({name: weights[name] for name in single.state_dict()})
    image = torch.randn(1, 1, 8, 16, 16)
    with torch.inference_mode():
        outputs = single(image)
        assert len(outputs) == 1
        assert torch.equal(outputs[0], supervised(image)[-1])


def test_convolutions_and_dilations_of_res_unet():
    network = res_unet.Network(1, 1, **RES_UNET)
    dilations = [
        [layer.dilation[0] for layer in layers_of(encoder, nn.Conv3d)]
        for encoder in network.encoders
    ]
    assert dilations == [[1, 1], [1, 1, 1], [1, 2, 4], [3, 4, 5]]
    assert [len(layers_of(decoder, nn.Conv3d)) for decoder in network.decoders] == [3, 3, 3, 2]
    downs, ups = layers_of(network.downs, nn.Conv3d), layers_of(network.ups, nn.ConvTranspose3d)
    assert len(downs) == len(ups) == 3
    assert all(layer.kernel_size == layer.stride == (2, 2, 2) for layer in downs + ups)


def test_every_parameter_of_res_unet_learns_from_four_outputs():
    network = res_unet.Network(1, 1, **RES_UNET)
    outputs = network(torch.randn(2, 1, 16, 16, 16))
    sum(output.square().mean() for output in outputs).backward()
    assert_all_learn(network)


def test_res_unet_is_residual():
    """With all kernels of its blocks zero, the net hands its sums on."""
    network = res_unet.Network(1, 1, **RES_UNET).eval()
    zero_kernels(*network.encoders, *network.decoders)
    image = torch.randn(1, 1, 8, 8, 8)
    down, head = entering(network.downs[0]), entering(network.maps[-1])
    sums = []
    network.ups[-1].register_forward_hook(lambda _, inputs, output: sums.append(output))
    with torch.inference_mode():
        network(image)
    assert torch.equal(down[0], image.repeat(1, 2, 1, 1, 1))
    assert torch.equal(head[0], sums[0])


def test_dropout_after_every_block_but_the_first_and_the_last(monkeypatch):
    sizes = []
    original = res_unet.functional.dropout

    def remember(x, probability, training):
        if training:
            assert probability == 0.3
            sizes.append(tuple(x.shape[1:3]))
        return original(x, probability, training)

    monkeypatch.setattr(res_unet.functional, "dropout", remember)
    network = res_unet.Network(1, 1, **RES_UNET)
    image = torch.randn(1, 1, 16, 16, 16)
    network(image)
    assert sizes == [(4, 8), (8, 4), (16, 2), (32, 2), (16, 4), (8, 8)]
    sizes.clear()
    network.eval()
    with torch.inference_mode():
        first, second = network(image), network(image)
    assert sizes == []
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_blocks_are_normalized_where_the_recipe_asks_for_it():
    plain, normalized = (
        res_unet.Network(1, 1, **RES_UNET, normalization=kind) for kind in ("none", "instance")
    )
    assert not any(isinstance(layer, nn.InstanceNorm3d) for layer in plain.modules())
    inside = [layer for layer in normalized.modules() if isinstance(layer, nn.InstanceNorm3d)]
    assert len(inside) == 2 + 3 + 3 + 3 + 3 + 3 + 3 + 2
    outputs = normalized(torch.randn(2, 1, 16, 16, 16))
    sum(output.square().mean() for output in outputs).backward()
    assert all(torch.isfinite(p.grad).all() for p in normalized.parameters())
