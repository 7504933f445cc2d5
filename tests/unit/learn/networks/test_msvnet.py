"""Tests of the 3D ResUNet and of the 2.5D multi-scale V-Net."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from renal.learn.networks import res_unet, vnet_2d5
from renal.learn.networks.squeeze_excitation import SqueezeExcitation

RES_UNET = {"width": 2, "dropout": 0.3, "supervised": True}
FULL = {"multi_scale": True, "squeeze": 16, "attention": True, "dilations": (2, 3, 5)}
PLAIN = {"multi_scale": False, "squeeze": None, "attention": False, "dilations": (1, 1, 1)}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def layers_of(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]


def zero_kernels(*blocks: nn.Module) -> None:
    for block in blocks:
        for layer in layers_of(block, nn.Conv2d, nn.Conv3d):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def entering(module: nn.Module) -> list[torch.Tensor]:
    """A list that fills with what the module is given."""
    given = []
    module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    return given


def assert_all_learn(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


# -- 3D ResUNet --------------------------------------------------------------------------------


def test_parameter_count_of_res_unet_is_that_of_the_public_code():
    with torch.device("meta"):
        network = res_unet.Network(1, 1, width=16, dropout=0.3, supervised=True)
        single = res_unet.Network(1, 1, width=16, dropout=0.3, supervised=False)
    assert parameter_count(network) == 9_498_260
    assert parameter_count(network) - parameter_count(single) == (256 + 1) + (128 + 1) + (64 + 1)


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


# -- 2.5D V-Net --------------------------------------------------------------------------------


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
