"""Tests of ResNet-34 on slices."""

import pytest
import torch
from torch import nn

from renal.learn.networks import resnet34_slices
from tests.unit.learn.networks.helpers import assert_all_learn, layers_of, parameter_count


def test_parameter_count_is_the_published_one():
    with torch.device("meta"):
        standard = resnet34_slices.Network(3, 1000)
        ours = resnet34_slices.Network(1, 1)
    assert parameter_count(standard) == 21_797_672
    # One colour in place of three for 64 kernels of 7x7, one class in place of 1000.
    assert parameter_count(ours) == 21_797_672 - 2 * 64 * 49 - 999 * (512 + 1)


def test_agrees_with_another_implementation_on_the_same_weights(monai):
    ours = resnet34_slices.Network(3, 2)
    for layer in layers_of(ours, nn.BatchNorm2d):
        nn.init.uniform_(layer.weight, 0.5, 1.0)
        nn.init.uniform_(layer.running_mean, -0.1, 0.1)
    theirs = monai.networks.nets.resnet34(
        pretrained=False,
        spatial_dims=2,
        n_input_channels=3,
        num_classes=2,
        conv1_t_stride=2,
        bias_downsample=False,
    )
    theirs.load_state_dict(ours.state_dict())  # strict: the names are the same
    image = torch.randn(2, 1, 3, 64, 96)
    with torch.inference_mode():
        (logits,) = ours.eval()(image)
        expected = theirs.eval()(image[:, 0])
    assert torch.allclose(logits[:, :, 0, 0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("context", "channels"), [(1, 1), (5, 2)])
def test_one_vector_of_logits_for_a_slice(context, channels):
    network = resnet34_slices.Network(context, channels)
    (logits,) = network(torch.randn(2, 1, context, 33, 64))
    assert logits.shape == (2, channels, 1, 1, 1)


def test_every_parameter_learns():
    network = resnet34_slices.Network(1, 1)
    (logits,) = network(torch.randn(4, 1, 1, 64, 64))
    logits.square().sum().backward()
    assert_all_learn(network)
