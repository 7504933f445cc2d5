"""Tests of TuNet, of the plain U-Net it is made of, and of squeeze and excitation."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from renal.learn.networks import tunet, unet
from renal.learn.networks.squeeze_excitation import SqueezeExcitation

PAPER = {"width": 16, "depth": 4, "groups": 8, "pyramid": True, "squeeze": None}
SMALL = {"width": 4, "depth": 3, "groups": 2, "pyramid": True, "squeeze": None}
PLAIN = {"dimensions": 3, "depth": 3, "width": 4, "normalization": "group"}

# Channels in and out of the convolutions of a net of depth 4 and width 16 without its pyramid.
CONVOLUTIONS = (
    *((1, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256)),
    *((256 + 128, 128), (128, 128), (128 + 64, 64), (64, 64), (64 + 32, 32), (32, 32)),
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def layers_of(network: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, kinds)]


def assert_all_learn(network: nn.Module) -> None:
    """Finite gradients everywhere, and none that vanishes in a kernel."""
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if parameter.ndim > 1:
            assert parameter.grad.any(), name


def counted(kernel: int, channels_out: int) -> int:
    """Kernels and biases, scale and shift of the normalisation, and the last convolution."""
    body = sum(before * after * kernel + 3 * after for before, after in CONVOLUTIONS)
    return body + 32 * channels_out + channels_out


# -- Squeeze and excitation ------------------------------------------------------------------


@pytest.mark.parametrize("size", [(4,), (2, 3), (2, 3, 4)])
def test_squeeze_and_excitation_by_hand(size):
    block = SqueezeExcitation(2, ratio=2)
    first, second = layers_of(block, nn.Linear)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 2.0]]))
        second.weight.copy_(torch.tensor([[math.log(3)], [0.0]]))
    values = torch.linspace(-2, 2, math.prod(size)).reshape(size)
    x = torch.stack([values + 3, values - 1])[None]
    # Means 3 and -1 give 1 in the bottleneck, sigmoid(log 3) = 3/4 and sigmoid(0) = 1/2.
    assert torch.allclose(block(x)[:, 0], 0.75 * x[:, 0], atol=1e-6)
    assert torch.allclose(block(x)[:, 1], 0.5 * x[:, 1], atol=1e-6)


def test_squeeze_and_excitation_keeps_one_channel_and_has_no_bias():
    assert parameter_count(SqueezeExcitation(8, ratio=16)) == 8 + 8
    assert parameter_count(SqueezeExcitation(64, ratio=16)) == 2 * 64 * 4


def test_squeeze_and_excitation_looks_at_each_example_alone():
    block = SqueezeExcitation(4, ratio=2)
    x = torch.rand(3, 4, 2, 2)
    assert torch.allclose(block(x)[1:2], block(x[1:2]))


# -- U-Net -------------------------------------------------------------------------------------


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
    assert [type(layer) for layer in block] == 2 * kinds


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("normalization", ["batch", "group", "instance"])
def test_every_parameter_of_the_plain_net_learns(dimensions, normalization):
    settings = {**PLAIN, "dimensions": dimensions, "normalization": normalization}
    network = unet.Network(1, 2, **settings)
    size = (8, 16, 16) if dimensions == 3 else (1, 16, 16)
    (logits,) = network(torch.randn(2, 1, *size))
    logits.square().mean().backward()
    assert_all_learn(network)


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


# -- TuNet -------------------------------------------------------------------------------------


def test_parameter_counts_are_about_four_million_a_net():
    with torch.device("meta"):
        network = tunet.Network(1, 2, **PAPER)
    # The image joins what enters levels 1, 2 and 3 as one more channel.
    whole = counted(27, channels_out=1) + 27 * (32 + 64 + 128)
    assert parameter_count(network.whole) == whole == 4_088_097
    # T-Net has the probability as a second channel at the top.
    assert parameter_count(network.tumour) == whole + 27 * 16


def test_squeeze_and_excitation_follows_each_convolution_and_concatenation():
    with torch.device("meta"):
        plain = tunet.Network(1, 2, **PAPER)
        squeezed = tunet.Network(1, 2, **{**PAPER, "squeeze": 16})
    convolved = [after for _, after in CONVOLUTIONS]
    joined = [32 + 1, 64 + 1, 128 + 1, 256 + 128, 128 + 64, 64 + 32]
    assert len(layers_of(squeezed.whole, SqueezeExcitation)) == len(convolved) + len(joined)
    added = sum(2 * channels * (channels // 16) for channels in convolved + joined)
    for net in ("whole", "tumour"):
        without, with_blocks = getattr(plain, net), getattr(squeezed, net)
        assert parameter_count(with_blocks) == parameter_count(without) + added


def test_without_its_pyramid_w_net_is_the_plain_net():
    network = tunet.Network(1, 2, **{**SMALL, "groups": 8, "pyramid": False})
    plain = unet.Network(1, 1, **PLAIN)
    plain.unet.load_state_dict(network.whole.state_dict())
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        assert torch.equal(network(image)[0][:, :1], plain(image)[0])


@pytest.mark.parametrize("changes", [{}, {"pyramid": False}, {"squeeze": 2}])
def test_both_regions_come_from_one_tensor_of_full_size(changes):
    network = tunet.Network(1, 2, **{**SMALL, **changes})
    outputs = network(torch.randn(2, 1, 4, 12, 20))
    assert [output.shape for output in outputs] == [(2, 2, 4, 12, 20)]
    assert torch.isfinite(outputs[0]).all()


def test_the_pyramid_shrinks_the_image_alone_in_both_nets():
    network = tunet.Network(1, 2, **SMALL)
    entering = {"whole": [], "tumour": []}
    for name, seen in entering.items():
        for encoder in getattr(network, name).encoders:
            encoder.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
    image = torch.randn(1, 1, 8, 8, 8)
    network(image)
    for seen in entering.values():
        assert [x.shape[1] for x in seen[1:]] == [8 + 1, 16 + 1]
        for level, x in enumerate(seen):
            shrunken = functional.max_pool3d(image, 2**level)
            assert torch.equal(x[:, :1], shrunken)


def test_t_net_sees_the_image_and_the_probability_of_w_net():
    network = tunet.Network(1, 2, **SMALL)
    given = []
    network.tumour.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    image = torch.randn(1, 1, 8, 8, 8)
    (logits,) = network(image)
    assert torch.equal(given[0], torch.cat([image, logits[:, :1].sigmoid()], dim=1))


def test_the_tumours_error_reaches_w_net_but_not_the_other_way_round():
    network = tunet.Network(1, 2, **SMALL)
    image = torch.randn(1, 1, 8, 8, 8)
    network(image)[0][:, 1].square().mean().backward()
    assert_all_learn(network)
    network.zero_grad()
    network(image)[0][:, 0].square().mean().backward()
    assert_all_learn(network.whole)
    assert not any(
        parameter.grad is not None and parameter.grad.any()
        for parameter in network.tumour.parameters()
    )


def test_every_parameter_with_squeeze_and_excitation_learns():
    network = tunet.Network(1, 2, **{**SMALL, "squeeze": 1})
    network(torch.randn(2, 1, 8, 8, 8))[0].square().mean().backward()
    assert_all_learn(network)


def test_evaluation_repeats_itself():
    network = tunet.Network(1, 2, **{**SMALL, "squeeze": 2}).eval()
    image = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        assert torch.equal(network(image)[0], network(image)[0])


def test_logits_are_not_confined_to_probabilities():
    network = tunet.Network(1, 2, **SMALL).eval()
    with torch.inference_mode():
        (logits,) = network(torch.randn(1, 1, 8, 8, 8))
    assert logits.min() < 0


@pytest.mark.parametrize("channels_out", [1, 3])
def test_only_whole_and_tumour_can_be_asked_for(channels_out):
    with pytest.raises(ValueError, match=f"not {channels_out}"):
        tunet.Network(1, channels_out, **SMALL)
