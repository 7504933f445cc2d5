"""Tests of damnet's network: its paths, its adaptation modules and its pretrained backbone."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from renal.errors import InputError
from renal.learn.networks import dam_net
from tests.unit.learn.networks.helpers import parameter_count

PATHS = ["two_d", "three_d", "adapted"]
PAPER = {"backbone": "resnet34", "rgb": "repeat", "paths": PATHS, "neighbours": 3}
DEPTH = 8


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """The network with statistics that differ from those of its start, in evaluation mode."""
    torch.manual_seed(0)
    network = dam_net.Network(1, 3, **PAPER)
    with torch.inference_mode():
        network(torch.randn(2, 1, 4, 32, 32))
    return network.eval()


def standard_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ResNet-34 weight file."""
    shapes = {}

    def convolution(name, channels_in, channels, kernel):
        shapes[f"{name}.weight"] = (channels, channels_in, kernel, kernel)

    def norm(name, channels):
        for entry in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{entry}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    convolution("conv1", 3, 64, 7)
    norm("bn1", 64)
    before = 64
    for layer, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            convolution(f"{name}.conv1", before, width, 3)
            norm(f"{name}.bn1", width)
            convolution(f"{name}.conv2", width, width, 3)
            norm(f"{name}.bn2", width)
            if before != width:
                convolution(f"{name}.downsample.0", before, width, 1)
                norm(f"{name}.downsample.1", width)
            before = width
    shapes["fc.weight"], shapes["fc.bias"] = (1000, 512), (1000,)
    return shapes


@pytest.fixture
def standard_state() -> dict[str, torch.Tensor]:
    return {
        name: torch.rand(shape) if shape else torch.tensor(7)
        for name, shape in standard_shapes().items()
    }


def slices_that_change(logits: torch.Tensor, others: torch.Tensor) -> list[int]:
    """Numbers of the slices in which two (1, channels, z, y, x) differ."""
    return (logits != others).any(dim=(0, 1, 3, 4)).nonzero().flatten().tolist()


def changed_by_slice(network: nn.Module, changed: int) -> list[list[int]]:
    """For every output, the slices that another input slice `changed` changes."""
    image = torch.rand(1, 1, DEPTH, 32, 32) * 2 - 1
    other = image.clone()
    other[:, :, changed] *= -1
    with torch.inference_mode():
        pairs = zip(network(image), network(other), strict=True)
        return [slices_that_change(*pair) for pair in pairs]


def test_parameter_counts_at_the_recipes_size():
    with torch.device("meta"):
        network = dam_net.Network(1, 3, **PAPER)
    # The published figure without the classifier of 1000 classes.
    assert parameter_count(network.backbone) == 21_797_672 - 1000 * (512 + 1)
    two_d = 9 * 16 + 2 * 16  # the image's own convolution
    levels = [16, 64, 64, 128, 256, 512]
    for width, deeper in pairwise(levels):
        # Up by 1x2x2, then 1x3x3 from twice the channels, normalised.
        two_d += 4 * deeper * width + 9 * 2 * width * width + 2 * width
    assert parameter_count(network.paths["two_d"]) == two_d == 2_336_464
    assert parameter_count(network.paths["three_d"]) == 1_253_712
    assert parameter_count(network.paths["adapted"]) == 4_054_128
    assert parameter_count(network.heads) == 3 * (16 * 3 + 3)
    fusion = 27 * 48 * 16 + 2 * 16 + 27 * 16 * 16 + 2 * 16 + 16 * 3 + 3
    assert parameter_count(network.fusion) == fusion
    assert parameter_count(network) == 28_956_892


@pytest.mark.parametrize("paths", [PATHS, ["two_d"], ["three_d"], ["three_d", "adapted"]])
def test_logits_of_every_path_and_of_their_fusion(paths):
    network = dam_net.Network(1, 3, **{**PAPER, "paths": paths})
    outputs = network(torch.randn(2, 1, 4, 32, 64))
    assert [tuple(output.shape) for output in outputs] == [(2, 3, 4, 32, 64)] * (
        len(paths) + (len(paths) > 1)
    )
    assert (network.backbone is None) == (paths == ["three_d"])
    assert all(torch.isfinite(output).all() for output in outputs)


def test_every_parameter_learns():
    network = dam_net.Network(1, 3, **{**PAPER, "rgb": "neighbours"})
    outputs = network(torch.randn(2, 1, 4, 64, 64))
    sum(output.square().mean() for output in outputs).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_fused_logits_teach_every_path():
    network = dam_net.Network(1, 3, **PAPER)
    network(torch.randn(1, 1, 4, 32, 32))[-1].square().mean().backward()
    for name, path in network.paths.items():
        assert path.decoder.blocks[-1][0].weight.grad.any(), name
    assert network.backbone.conv1.weight.grad.any()
    assert all(head.weight.grad is None for head in network.heads)


def test_two_d_path_sees_one_slice_and_the_others_their_neighbours(network):
    two_d, three_d, adapted, fused = changed_by_slice(network, 3)
    assert two_d == [3]
    assert set(three_d) > {2, 3, 4}
    assert set(adapted) > {2, 3, 4}
    assert set(fused) > {2, 3, 4}


def test_colours_from_neighbours_reach_one_slice_farther(network):
    network.rgb = "neighbours"
    try:
        assert changed_by_slice(network, 3)[0] == [2, 3, 4]
        assert changed_by_slice(network, 0)[0] == [0, 1]
    finally:
        network.rgb = "repeat"


def test_two_d_path_of_a_volume_is_that_of_its_slices(network):
    image = torch.rand(2, 1, 4, 32, 32) * 2 - 1
    seen = []
    handle = network.paths["two_d"].register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.inference_mode():
        network(image)
        network(image[1:, :, 1:].repeat(1, 1, 4, 1, 1)[:, :, :4])
    handle.remove()
    # Slices 1, 2, 3 and again 1 of the second volume.
    for position, number in enumerate([1, 2, 3, 1]):
        assert torch.allclose(seen[0][1, :, number], seen[1][0, :, position], atol=1e-5)


@pytest.mark.parametrize(("rgb", "shift"), [("repeat", 0), ("neighbours", 1)])
def test_backbone_sees_imagenets_scale(network, rgb, shift):
    seen = []
    handle = network.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    values = torch.linspace(-1, 1, 4)
    network.rgb = rgb
    try:
        with torch.inference_mode():
            network(values.view(1, 1, 4, 1, 1).expand(1, 1, 4, 32, 32))
    finally:
        handle.remove()
        network.rgb = "repeat"
    (colours,) = seen
    assert colours.shape == (4, 3, 32, 32)
    mean = [0.485, 0.456, 0.406]
    deviation = [0.229, 0.224, 0.225]
    for number in range(4):
        for colour in range(3):
            neighbour = min(max(number + (colour - 1) * shift, 0), 3)
            expected = (neighbour / 3 - mean[colour]) / deviation[colour]
            assert colours[number, colour, 0, 0].item() == pytest.approx(expected, abs=1e-5)


class TestDimensionAdaptation:
    def test_parameter_count(self):
        module = dam_net.DimensionAdaptation(64, 32, 3)
        reduce, join = 64 * 32 + 2 * 32, 27 * 32 * 32 + 2 * 32
        weigh = 3 * 32 * 8 + 8 + 8 * 32 + 32
        assert parameter_count(module) == reduce + join + weigh

    @pytest.mark.parametrize(("neighbours", "reach"), [(1, 0), (3, 2), (5, 4)])
    def test_reach_across_slices(self, neighbours, reach):
        torch.manual_seed(0)  # with some weights no channel of the bottleneck is active
        module = dam_net.DimensionAdaptation(4, 8, neighbours).eval()
        features = torch.randn(1, 4, 13, 5, 5)
        other = features.clone()
        other[:, :, 6] += 1
        with torch.inference_mode():
            changed = slices_that_change(module(features), module(other))
        # The convolution reaches half its kernel; so do the weights, once more.
        assert changed == list(range(6 - reach, 6 + reach + 1))

    def test_weighted_features_are_added_to_the_2d_ones(self):
        module = dam_net.DimensionAdaptation(4, 8, 3).eval()
        features = torch.randn(2, 4, 5, 6, 6)
        output_weights = module.weigh[2]
        with torch.inference_mode():
            reduced = module.reduce(features)
            joined = module.join(reduced)
            nn.init.zeros_(output_weights.weight)
            nn.init.zeros_(output_weights.bias)
            assert torch.allclose(module(features), reduced + joined / 2)
            nn.init.constant_(output_weights.bias, -100)
            assert torch.allclose(module(features), reduced)


class TestPretrained:
    def test_backbone_has_the_names_and_shapes_of_the_standard_file(self, network):
        expected = standard_shapes()
        assert len(expected) == 218
        expected = {name: shape for name, shape in expected.items() if not name.startswith("fc.")}
        state = network.backbone.state_dict()
        assert {name: tuple(value.shape) for name, value in state.items()} == expected

    def test_backbone_gets_every_value(self, standard_state):
        network = dam_net.Network(1, 3, **PAPER)
        network.load_pretrained(standard_state)
        for name, value in network.backbone.state_dict().items():
            assert torch.equal(value, standard_state[name]), name

    def test_counters_may_be_absent(self, standard_state):
        network = dam_net.Network(1, 3, **PAPER)
        old = {k: v for k, v in standard_state.items() if not k.endswith("num_batches_tracked")}
        assert len(old) == 182
        network.load_pretrained(old)
        for name, value in network.backbone.state_dict().items():
            assert torch.equal(value, old.get(name, torch.tensor(0))), name

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("layer2.0.downsample.0.weight", None, "lack layer2.0.downsample.0.weight"),
            ("layer3.6.conv1.weight", torch.zeros(1), "unknown entry layer3.6.conv1.weight"),
            (
                "conv1.weight",
                torch.zeros(64, 1, 7, 7),
                r"conv1.weight has shape \(64, 1, 7, 7\) in place of \(64, 3, 7, 7\)",
            ),
        ],
    )
    def test_another_file_is_refused_whole(self, network, standard_state, name, value, message):
        before = {key: entry.clone() for key, entry in network.backbone.state_dict().items()}
        if value is None:
            del standard_state[name]
        else:
            standard_state[name] = value
        with pytest.raises(InputError, match=message):
            network.load_pretrained(standard_state)
        for key, entry in network.backbone.state_dict().items():
            assert torch.equal(entry, before[key]), key
