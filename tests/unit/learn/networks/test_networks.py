"""Tests of networks as recipes describe them: parameters and channels."""

import pytest
import torch

from renal import recipe
from renal.learn.networks import build_network
from renal.learn.networks.settings import UNet
from tests.unit.learn.networks.helpers import parameter_count

# The figures of docs/recipes.md.
COUNTS = {
    ("resvnet", "whole"): 9_330_065 * 2 + 432,
    ("resvnet", "tumour"): 9_330_065 * 2 + 432,
    ("mrbnet", "zrange"): 21_278_913,
    ("mrbnet", "locate"): 21_967_553,
    ("mrbnet", "segment"): 14_550_111,
    ("damnet", "coarse"): 1_021_505,
    ("damnet", "fine"): 28_956_892,
    ("tunet", "segment"): 4_088_097 + 4_088_529,
    ("tunet_seb", "segment"): 4_133_981 + 4_134_413,
    ("tunet_ensemble_post", "localize"): 4_082_049,
    ("tunet_unet3d", "segment"): 4_082_082,
    ("tunet_unet2d", "segment"): 1_363_074,
    ("msvnet", "kidney"): 9_498_260,
    ("msvnet", "tumour"): 5_092_421,
    ("msvnet_vnet", "tumour"): 5_037_937,
    ("msvnet_deeplab", "tumour"): 26_717_217,
    ("damnet_2d", "fine"): 23_621_187,
    ("damnet_3d", "fine"): 1_253_763,
    ("damnet_adapted", "fine"): 25_338_851,
}


@pytest.mark.parametrize(("method", "stage"), COUNTS)
def test_a_recipes_network_has_as_many_parameters_as_the_docs_say(method, stage):
    training = recipe.load_method(method, {}).stages[stage].training
    with torch.device("meta"):
        network = build_network(training.network, training.sampler.channels, training.target)
    assert parameter_count(network) == COUNTS[method, stage]


@pytest.mark.parametrize(
    ("target", "channels"),
    [("kidney", 1), ("classes", 3), (("kidney", "tumour"), 2), (("tumour",), 1)],
)
@pytest.mark.parametrize(("dimensions", "context"), [(2, 1), (2, 5), (3, 1)])
def test_channels_are_those_of_sampler_and_target(dimensions, context, target, channels):
    settings = UNet(name="unet", dimensions=dimensions, depth=2, width=2, normalization="instance")
    network = build_network(settings, context, target)
    depth = context if dimensions == 2 else 4
    outputs = network(torch.randn(2, 1, depth, 4, 6))
    assert outputs[-1].shape == (2, channels, 1 if dimensions == 2 else 4, 4, 6)
