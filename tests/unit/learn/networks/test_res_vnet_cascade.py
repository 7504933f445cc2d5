"""Tests of the cascade of ResVNets: parameters, sizes, dilations, dropout and gradients."""

import pytest
import torch
from torch import nn

from renal.learn.networks import build_network, res_vnet_cascade
from renal.learn.networks.settings import ResVNetCascade
from tests.unit.learn.networks.helpers import layers_of, parameter_count

PUBLIC = {"width": 16, "dropout": 0.3, "normalization": "none"}
SMALL = {"width": 2, "dropout": 0.3, "normalization": "none"}


def cascade(**changes: object) -> nn.Module:
    settings = {"name": "res_vnet_cascade", **SMALL, **changes}
    return build_network(ResVNetCascade(**settings), 1, "kidney")


def test_parameter_count_is_that_of_the_public_code():
    # The meta device makes shapes without numbers: 18.6 million of them would take a second.
    with torch.device("meta"):
        settings = ResVNetCascade(name="res_vnet_cascade", **PUBLIC)
        network = build_network(settings, 1, "kidney")
    assert parameter_count(network.half_size) == 9_324_721
    # The second net has one more input channel, seen by 16 kernels of 27 weights.
    assert parameter_count(network.full_size) == 9_324_721 + 16 * 27


def test_normalization_adds_a_scale_and_a_shift_of_every_channel():
    with torch.device("meta"):
        network = res_vnet_cascade.ResVNet(1, **{**PUBLIC, "normalization": "instance"})
    channels = sum(layer.num_features for layer in layers_of(network, nn.InstanceNorm3d))
    assert parameter_count(network) == 9_330_065 == 9_324_721 + 2 * channels


def test_networks_are_built_by_name_from_a_recipe():
    network = cascade()
    assert type(network) is res_vnet_cascade.Network
    assert network.half_size.dropout == SMALL["dropout"]


@pytest.mark.parametrize("normalization", ["none", "instance"])
def test_both_outputs_have_full_size(normalization):
    network = cascade(normalization=normalization)
    image = torch.randn(2, 1, 16, 32, 48)
    outputs = network(image)
    assert [output.shape for output in outputs] == [image.shape, image.shape]
    assert all(torch.isfinite(output).all() for output in outputs)


def test_logits_are_not_confined_to_probabilities():
    network = cascade().eval()
    with torch.inference_mode():
        low, high = (network(torch.full((1, 1, 16, 16, 16), value)) for value in (-50.0, 50.0))
    assert min(output.min() for output in (*low, *high)) < 0


def test_first_net_works_on_half_of_all_three_axes():
    network = cascade()
    seen = {}

    def remember(name):
        def hook(_module, inputs):
            seen[name] = tuple(inputs[0].shape)

        return hook

    for net in ("half_size", "full_size"):
        part = getattr(network, net)
        part.register_forward_pre_hook(remember(net))
        part.encoders[-1].register_forward_pre_hook(remember(f"{net} deepest"))
        part.bottom.register_forward_pre_hook(remember(f"{net} bottom"))
    network(torch.randn(1, 1, 32, 48, 64))
    assert seen["half_size"] == (1, 1, 16, 24, 32)
    assert seen["half_size deepest"] == seen["half_size bottom"] == (1, 16, 2, 3, 4)
    assert seen["full_size"] == (1, 2, 32, 48, 64)
    assert seen["full_size deepest"] == seen["full_size bottom"] == (1, 16, 4, 6, 8)


def test_second_net_sees_the_image_and_the_first_nets_probabilities():
    network = cascade().eval()
    inputs = []
    network.full_size.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        coarse, _ = network(image)
    assert torch.equal(inputs[0][:, :1], image)
    assert torch.equal(inputs[0][:, 1:], coarse.sigmoid())


def test_dilations_and_convolutions_are_those_of_the_public_code():
    network = cascade().half_size
    dilations = [
        [layer.dilation for layer in layers_of(encoder, nn.Conv3d)] for encoder in network.encoders
    ]
    assert dilations == [
        [(rate,) * 3 for rate in rates] for rates in ((1,), (1, 1), (1, 2, 4), (3, 4, 5))
    ]
    decoders = [network.deepest_decoder, *network.decoders]
    assert [len(layers_of(decoder, nn.Conv3d)) for decoder in decoders] == [3, 3, 2, 1]
    for block in (*network.encoders, *decoders):
        for layer in layers_of(block, nn.Conv3d):
            assert layer.kernel_size == (3, 3, 3)
            assert layer.padding == layer.dilation  # the size stays
    for down in layers_of(network.downs, nn.Conv3d):
        assert (down.kernel_size, down.stride) == ((2, 2, 2), (2, 2, 2))
    for up in layers_of(network.ups, nn.ConvTranspose3d):
        assert (up.kernel_size, up.stride) == ((2, 2, 2), (2, 2, 2))


def test_width_doubles_from_level_to_level():
    with torch.device("meta"):
        network = res_vnet_cascade.ResVNet(1, **PUBLIC)
    encoders = [layers_of(encoder, nn.Conv3d)[-1].out_channels for encoder in network.encoders]
    decoders = [network.deepest_decoder, *network.decoders]
    assert encoders == [16, 32, 64, 128]
    assert layers_of(network.bottom, nn.Conv3d)[0].out_channels == 256
    assert [layers_of(d, nn.Conv3d)[-1].out_channels for d in decoders] == [256, 128, 64, 32]


def test_every_convolution_but_the_last_is_activated_by_prelu():
    network = cascade().half_size
    convolutions = layers_of(network, nn.Conv3d) + layers_of(network, nn.ConvTranspose3d)
    assert len(layers_of(network, nn.PReLU)) == len(convolutions) - 1


def test_normalization_only_where_the_recipe_asks_for_it():
    assert not layers_of(cascade(), nn.InstanceNorm3d)
    network = cascade(normalization="instance")
    norms = layers_of(network, nn.InstanceNorm3d)
    assert len(norms) == len(layers_of(network, nn.PReLU))
    assert all(norm.affine for norm in norms)


@pytest.mark.parametrize("normalization", ["none", "instance"])
def test_one_step_changes_every_parameter(normalization):
    network = cascade(normalization=normalization)
    before = {name: value.clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    image = torch.randn(2, 1, 32, 32, 32)
    sum(output.square().mean() for output in network(image)).backward()
    optimizer.step()
    for name, value in network.named_parameters():
        assert torch.isfinite(value.grad).all(), name
        assert torch.isfinite(value).all(), name
        assert not torch.equal(value, before[name]), name


def test_the_second_nets_error_reaches_the_first_net():
    network = cascade()
    _, fine = network(torch.randn(1, 1, 16, 16, 16))
    fine.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.half_size.parameters())
    assert any(parameter.grad.any() for parameter in network.half_size.parameters())


@pytest.fixture
def dropped(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of what is handed to dropout while the network is in training."""
    shapes = []
    original = res_vnet_cascade.functional.dropout

    def remember(x, probability, training):
        if training:
            assert probability == 0.3
            shapes.append(tuple(x.shape[1:]))
        return original(x, probability, training)

    monkeypatch.setattr(res_vnet_cascade.functional, "dropout", remember)
    return shapes


def test_dropout_after_every_block_but_the_first_and_the_last(dropped):
    network = res_vnet_cascade.ResVNet(1, **SMALL)
    network(torch.randn(1, 1, 16, 16, 16))
    encoders = [(4, 8, 8, 8), (8, 4, 4, 4), (16, 2, 2, 2)]
    decoders = [(32, 2, 2, 2), (16, 4, 4, 4), (8, 8, 8, 8)]
    # The first encoder block and the last decoder block are those at full size.
    assert dropped == encoders + decoders


def test_no_dropout_in_evaluation(dropped):
    network = cascade().eval()
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        first, second = network(image), network(image)
    assert dropped == []
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_dropout_makes_passes_differ_in_training():
    network = cascade()
    image = torch.randn(1, 1, 16, 16, 16)
    assert not torch.equal(network(image)[1], network(image)[1])


def test_blocks_are_residual():
    """With all kernels zero, a net hands its sums on: the input comes through untouched."""
    network = res_vnet_cascade.ResVNet(2, **SMALL).eval()
    for block in (*network.encoders, network.deepest_decoder, *network.decoders):
        for layer in layers_of(block, nn.Conv3d):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    image = torch.randn(1, 2, 16, 16, 16)
    entering = {}
    for name, module in (
        ("down", network.downs[0]),
        ("up", network.ups[0]),
        ("head", network.head),
    ):
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: entering.update({name: inputs[0]})
        )
    leaving = {}
    for name, module in (("bottom", network.bottom), ("up", network.ups[-1])):
        module.register_forward_hook(lambda *given, name=name: leaving.update({name: given[-1]}))
    with torch.inference_mode():
        network(image)
    assert torch.equal(entering["down"], image)  # width is 2: each channel once
    assert torch.equal(entering["up"], leaving["bottom"])
    assert torch.equal(entering["head"], leaving["up"])
    assert entering["head"].any()


def test_weights_follow_the_seed():
    torch.manual_seed(5)
    first = cascade().state_dict()
    torch.manual_seed(5)
    second = cascade().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("channels", [(2, 1), (1, 2)])
def test_more_than_one_channel_is_refused(channels):
    with pytest.raises(ValueError, match="the cascade takes and gives one channel"):
        res_vnet_cascade.Network(*channels, **SMALL)
