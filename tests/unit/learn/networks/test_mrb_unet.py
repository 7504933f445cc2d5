"""Tests of the multi-scale residual U-Net."""

import pytest
import torch
from torch import nn

from renal.learn.networks import mrb_unet
from tests.unit.learn.networks.helpers import assert_all_learn, layers_of, parameter_count

PAPER = {
    "widths": [32, 64, 128, 256, 512],
    "alpha": 1.67,
    "extra_up": 2,
    "normalization": "batch",
}
SMALL = {**PAPER, "widths": [4, 6, 8, 10, 12]}


def kernels(network: nn.Module, kind: type[nn.Module]) -> list[tuple[int, ...]]:
    return [(*layer.kernel_size, *layer.stride) for layer in layers_of(network, kind)]


class TestMultiScaleResidualBlock:
    def test_widths_are_a_sixth_a_third_and_a_half(self):
        block = mrb_unet.MultiScaleResidualBlock(32, 64, 1.67, "batch")
        # 1.67 * 64 = 106.88
        assert [layers_of(layer, nn.Conv3d)[0].out_channels for layer in block.chain] == [
            17,
            35,
            53,
        ]
        # Each convolution has a kernel and, in its normalisation, a scale and a shift a channel.
        chain = 27 * (32 * 17 + 17 * 35 + 35 * 53) + 2 * (17 + 35 + 53)
        reduce, shortcut = (17 + 35 + 53) * 64 + 2 * 64, 32 * 64 + 2 * 64
        assert parameter_count(block) == chain + reduce + shortcut

    def test_an_impulse_reaches_three_five_and_seven_voxels(self):
        block = mrb_unet.MultiScaleResidualBlock(1, 6, 1.0, "batch").eval()
        for convolution in layers_of(block.chain, nn.Conv3d):
            nn.init.ones_(convolution.weight)
        seen = []
        block.reduce.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        impulse = torch.zeros(1, 1, 9, 9, 9)
        impulse[0, 0, 4, 4, 4] = 1
        with torch.inference_mode():
            block(impulse)
        # One, two and three channels; all of a scale are alike.
        reached = (seen[0][0] > 0).sum(dim=(1, 2, 3))
        assert reached.tolist() == [27, 125, 125, 343, 343, 343]

    def test_shortcut_is_added(self):
        block = mrb_unet.MultiScaleResidualBlock(3, 4, 1.67, "batch").eval()
        nn.init.zeros_(block.reduce[0].weight)
        x = torch.randn(1, 3, 4, 4, 4)
        with torch.inference_mode():
            assert torch.equal(block(x), block.shortcut(x).relu())
            assert block(x).any()


class TestMRBUNet:
    def test_parameter_count_at_the_papers_size(self):
        def block(before, width):
            a, b, c = (int(1.67 * width / share) for share in (6, 3, 2))
            chain = 27 * (before * a + a * b + b * c) + 2 * (a + b + c)
            return chain + (a + b + c) * width + before * width + 4 * width

        encoder = sum(block(*w) for w in ((1, 32), (32, 64), (64, 128), (128, 256), (256, 512)))
        decoder = sum(block(2 * width, width) for width in (256, 128, 64, 32))
        doubling = sum(8 * 2 * w * w + 2 * w for w in (256, 128, 64, 32))
        extra = sum(27 * w * w + 2 * w for w in (256, 128))
        head = 2 * 32 + 2
        with torch.device("meta"):
            network = mrb_unet.Network(1, 2, **PAPER)
        assert parameter_count(network) == encoder + decoder + doubling + extra + head == 14_550_111

    @pytest.mark.parametrize("normalization", ["batch", "instance"])
    def test_logits_have_the_images_size(self, normalization):
        network = mrb_unet.Network(1, 2, **{**SMALL, "normalization": normalization})
        image = torch.randn(2, 1, 16, 32, 48)
        (logits,) = network(image)
        assert logits.shape == (2, 2, 16, 32, 48)
        assert torch.isfinite(logits).all()

    def test_normalization_is_the_recipes(self):
        network = mrb_unet.Network(1, 2, **{**SMALL, "normalization": "instance"})
        assert not layers_of(network, nn.BatchNorm3d)
        norms = layers_of(network, nn.InstanceNorm3d)
        convolutions = layers_of(network, nn.Conv3d) + layers_of(network, nn.ConvTranspose3d)
        assert len(norms) == len(convolutions) - 1
        assert all(norm.affine for norm in norms)

    @pytest.mark.parametrize("extra_up", [0, 2, 4])
    def test_deepest_levels_have_more_transposed_convolutions(self, extra_up):
        network = mrb_unet.Network(1, 2, **{**SMALL, "extra_up": extra_up})
        double, refine = (2, 2, 2, 2, 2, 2), (3, 3, 3, 1, 1, 1)
        assert [kernels(up, nn.ConvTranspose3d) for up in network.ups] == [
            [double, refine] if level < extra_up else [double] for level in range(4)
        ]

    def test_levels_halve_and_their_features_are_joined(self):
        network = mrb_unet.Network(1, 2, **SMALL)
        shapes = {}

        def remember(name):
            return lambda _module, given: shapes.update({name: tuple(given[0].shape[1:])})

        for level, encoder in enumerate(network.encoders):
            encoder.register_forward_pre_hook(remember(f"encoder {level}"))
        for level, decoder in enumerate(network.decoders):
            decoder.register_forward_pre_hook(remember(f"decoder {level}"))
        network(torch.randn(1, 1, 16, 32, 48))
        assert shapes == {
            "encoder 0": (1, 16, 32, 48),
            "encoder 1": (4, 8, 16, 24),
            "encoder 2": (6, 4, 8, 12),
            "encoder 3": (8, 2, 4, 6),
            "encoder 4": (10, 1, 2, 3),
            "decoder 0": (20, 2, 4, 6),
            "decoder 1": (16, 4, 8, 12),
            "decoder 2": (12, 8, 16, 24),
            "decoder 3": (8, 16, 32, 48),
        }

    def test_every_parameter_learns(self):
        network = mrb_unet.Network(1, 2, **SMALL)
        (logits,) = network(torch.randn(2, 1, 32, 32, 32))
        logits.square().sum().backward()
        assert_all_learn(network)
