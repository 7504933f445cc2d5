"""Tests of the 2.5D multi-scale V-Net."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from renal.learn.networks import vnet_2d5
from renal.learn.networks.squeeze_excitation import SqueezeExcitation
from tests.unit.learn.networks.helpers import (
    assert_all_learn,
    entering,
    layers_of,
    parameter_count,
    zero_kernels,
)

FULL = {"multi_scale": True, "squeeze": 16, "attention": True, "dilations": (2, 3, 5)}
PLAIN = {"multi_scale": False, "squeeze": None, "attention": False, "dilations": (1, 1, 1)}


def vnet(width: int = 4, context: int = 5, channels_out: int = 1, **changes: object) -> nn.Module:
    return vnet_2d5.Network(context, channels_out, width=width, **{**FULL, **changes})


def test_parameter_count_of_the_plain_v_net():
    with torch.device("meta"):
        network = vnet(16, **PLAIN)
    blocks = [
        *((5, 16), (32, 32), (32, 32), *3 * [(64, 64)], *3 * [(128, 128)], *3 * [(256, 256)]),
        *(*3 * [(256, 256)], *3 * [(128, 128)], *2 * [(64, 64)], (32, 32)),
    ]
    steps = [(16, 32), (32, 64), (64, 128), (128, 256), (256, 128), (256, 64), (128, 32), (64, 16)]
    # Each convolution is followed by scale and shift of the normalisation and a PReLU.
    expected = sum(9 * before * after + 3 * after for before, after in blocks)
    expected += sum(4 * before * after + 3 * after for before, after in steps)
    assert parameter_count(network) == expected + 32 + 1 == 5_037_937


@pytest.mark.parametrize(
    ("switch", "added"),
    [
        ({"multi_scale": True}, 9 * 5 * (32 + 64 + 128 + 256)),
        ({"squeeze": 16}, 2 * (32 * 2 + 64 * 4 + 128 * 8 + 256 * 16)),
        # Two skips' worth of channels to half as many, and these to one.
        ({"attention": True}, sum(w * w + w // 2 + w // 2 + 1 for w in (16, 32, 64, 128))),
        ({"dilations": (2, 3, 5)}, 0),
    ],
)
def test_parameters_that_each_mechanism_adds(switch, added):
    with torch.device("meta"):
        plain, changed = vnet(16, **PLAIN), vnet(16, **{**PLAIN, **switch})
    assert parameter_count(changed) == parameter_count(plain) + added


@pytest.mark.parametrize("settings", [FULL, PLAIN])
@pytest.mark.parametrize("context", [1, 5])
def test_v_net_gives_the_middle_slice(settings, context):
    network = vnet(context=context, channels_out=2, **settings)
    (logits,) = network(torch.randn(2, 1, context, 32, 48))
    assert logits.shape == (2, 2, 1, 32, 48)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("settings", [FULL, PLAIN])
def test_every_neighbouring_slice_is_seen(settings):
    network = vnet(**settings).eval()
    image = torch.randn(1, 1, 5, 32, 32)
    with torch.inference_mode():
        (logits,) = network(image)
        for neighbour in range(5):
            other = image.clone()
            other[:, :, neighbour] += torch.randn(32, 32)
            assert not torch.allclose(network(other)[0], logits), neighbour


def test_the_image_joins_every_down_sampling():
    network = vnet(context=3)
    given = [entering(encoder) for encoder in network.encoders]
    image = torch.randn(2, 1, 3, 32, 48)
    network(image)
    for level, (seen,) in enumerate(given):
        assert seen.shape[1] == (4 * 2**level if level else 0) + 3
        shrunken = functional.avg_pool2d(image[:, 0], 2**level)
        assert torch.allclose(seen[:, -3:], shrunken, atol=1e-6)


def test_one_scale_without_the_mechanism():
    network = vnet(multi_scale=False)
    given = [entering(encoder) for encoder in network.encoders]
    network(torch.randn(2, 1, 5, 32, 32))
    assert [seen.shape[1] for (seen,) in given] == [5, 8, 16, 32, 64]


def test_squeeze_and_excitation_after_every_down_sampling():
    assert not layers_of(vnet(squeeze=None), SqueezeExcitation)
    network = vnet(squeeze=2)
    assert all(isinstance(down[-1], SqueezeExcitation) for down in network.downs)
    assert len(layers_of(network, SqueezeExcitation)) == len(network.downs) == 4


def test_dilations_are_those_of_the_bottom_alone():
    network = vnet()
    rates = [
        [layer.dilation for layer in layers_of(encoder, nn.Conv2d)] for encoder in network.encoders
    ]
    assert rates[-1] == [(2, 2), (3, 3), (5, 5)]
    assert {rate for level in rates[:-1] for rate in level} == {(1, 1)}
    assert [len(level) for level in rates] == [1, 2, 3, 3, 3]
    assert [len(layers_of(decoder, nn.Conv2d)) for decoder in network.decoders] == [3, 3, 2, 1]


def test_dilations_change_the_output():
    dilated, undilated = vnet().eval(), vnet(dilations=(1, 1, 1)).eval()
    undilated.load_state_dict(dilated.state_dict())
    image = torch.randn(1, 1, 5, 64, 64)
    with torch.inference_mode():
        assert not torch.allclose(dilated(image)[0], undilated(image)[0])


def test_attention_gate_by_hand():
    gate = vnet_2d5.AttentionGate(2, 2)
    first, second = layers_of(gate, nn.Conv2d)
    with torch.no_grad():
        # The sum of the skip's first and the gate's second channel, less 1.
        first.weight.copy_(torch.tensor([1.0, 0, 0, 1]).reshape(1, 4, 1, 1))
        first.bias.fill_(-1)
        second.weight.fill_(2)
        second.bias.fill_(-2)
    skip = torch.tensor([[1.0, 2.0], [5.0, 6.0]]).reshape(1, 2, 1, 2)
    features = torch.tensor([[0.0, 0.0], [1.0, -3.0]]).reshape(1, 2, 1, 2)
    # Sums 2 and -1, less 1 and activated 1 and 0, then 0 and -2.
    weights = torch.tensor([0.0, -2.0]).sigmoid()
    assert torch.allclose(gate(skip, features), skip * weights)


def test_attention_gates_weigh_every_skip():
    network = vnet()
    skips, gated = [], []
    for gate in network.gates:
        gate.register_forward_hook(lambda _, inputs, output: skips.append((inputs, output)))
    for decoder in network.decoders:
        gated.append(entering(decoder))
    network(torch.randn(2, 1, 5, 32, 32))
    assert len(skips) == 4
    for ((skip, features), output), (seen,) in zip(skips, gated, strict=True):
        assert torch.equal(seen, torch.cat([features, output], dim=1))
        weights = output / skip
        assert torch.allclose(weights, weights[:, :1].expand_as(weights), atol=1e-4)
    assert not vnet(attention=False).gates


def test_v_net_is_residual():
    """With all kernels of its blocks zero, the net hands its sums on."""
    network = vnet(**PLAIN).eval()
    zero_kernels(*network.encoders, *network.decoders)
    image = torch.randn(1, 1, 5, 16, 16)
    down, up, head = (entering(layer) for layer in (network.downs[0], network.ups[0], network.head))
    bottom, sums = [], []
    network.downs[-1].register_forward_hook(lambda _, inputs, output: bottom.append(output))
    network.ups[-1].register_forward_hook(lambda _, inputs, output: sums.append(output))
    with torch.inference_mode():
        network(image)
    assert torch.equal(up[0], bottom[0])
    assert up[0].any()
    middle = image[:, 0, 2:3].repeat(1, 4, 1, 1)
    assert torch.equal(down[0], middle)
    assert torch.equal(head[0], torch.cat([sums[0], middle], dim=1))


@pytest.mark.parametrize("settings", [{**FULL, "squeeze": 1}, PLAIN])
def test_every_parameter_of_v_net_learns(settings):
    network = vnet(**settings)
    (logits,) = network(torch.randn(2, 1, 5, 96, 96))
    logits.square().mean().backward()
    assert_all_learn(network)


def test_evaluation_is_the_same_for_any_batch():
    network = vnet()
    image = torch.randn(2, 1, 5, 32, 32)
    network(image)
    network.eval()
    with torch.inference_mode():
        together, again, alone = network(image)[0], network(image)[0], network(image[:1])[0]
    assert torch.equal(together, again)
    assert torch.allclose(together[:1], alone, atol=1e-6)
