"""Tests of TuNet."""

import pytest
import torch
from torch.nn import functional

from renal.learn.networks import tunet, unet
from renal.learn.networks.squeeze_excitation import SqueezeExcitation
from tests.unit.learn.networks.helpers import (
    CONVOLUTIONS,
    assert_kernels_learn,
    counted,
    layers_of,
    parameter_count,
)

PAPER = {"width": 16, "depth": 4, "groups": 8, "pyramid": True, "squeeze": None}
SMALL = {"width": 4, "depth": 3, "groups": 2, "pyramid": True, "squeeze": None}
PLAIN = {"dimensions": 3, "depth": 3, "width": 4, "normalization": "group"}


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
    assert_kernels_learn(network)
    network.zero_grad()
    network(image)[0][:, 0].square().mean().backward()
    assert_kernels_learn(network.whole)
    assert not any(
        parameter.grad is not None and parameter.grad.any()
        for parameter in network.tumour.parameters()
    )


def test_every_parameter_with_squeeze_and_excitation_learns():
    torch.manual_seed(1)  # by others a bottleneck may be dead from the beginning
    network = tunet.Network(1, 2, **{**SMALL, "squeeze": 1})
    network(torch.randn(2, 1, 8, 8, 8))[0].square().mean().backward()
    assert_kernels_learn(network)


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


def test_one_map_is_no_cascade():
    with pytest.raises(ValueError, match="not 1"):
        tunet.Network(1, 1, **SMALL)


def test_of_three_maps_each_net_sees_the_image_and_the_map_before():
    network = tunet.Network(1, 3, **SMALL)
    (between,) = network.between
    given = []
    for net in (between, network.tumour):
        net.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    image = torch.randn(1, 1, 8, 8, 8)
    (logits,) = network(image)
    assert logits.shape == (1, 3, 8, 8, 8)
    for number, seen in enumerate(given):
        assert torch.equal(seen, torch.cat([image, logits[:, number : number + 1].sigmoid()], 1))
    logits[:, 2].square().mean().backward()
    assert_kernels_learn(network)


def test_the_papers_net_has_no_weights_between():
    names = tunet.Network(1, 2, **SMALL).state_dict()
    assert {name.partition(".")[0] for name in names} == {"whole", "tumour"}
