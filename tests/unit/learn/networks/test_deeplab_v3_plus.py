"""DeepLab V3+: its strides, its backbone's names, and what it sees."""

import pytest
import torch

from renal.learn.networks.deeplab_v3_plus import Network
from renal.learn.networks.resnet import ResNet34


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network(5, 2, width=16, rates=(1, 2, 3))


def test_one_slice_comes_out_of_any_multiple_of_16(network):
    for size in ((32, 32), (48, 80)):
        (logits,) = network(torch.randn(2, 1, 5, *size))
        assert logits.shape == (2, 2, 1, *size) and torch.isfinite(logits).all()


def test_the_backbone_is_a_resnet_34_whose_last_level_keeps_its_size(network):
    plain = ResNet34(5)
    assert network.backbone.state_dict().keys() == plain.state_dict().keys()
    image = torch.randn(1, 5, 64, 64)
    *finer, deep = network.backbone.eval()(image)
    assert [level.shape[-1] for level in finer] == [32, 16, 8, 4] and deep.shape[-1] == 4
    # All but the last level are those of the plain network.
    plain.load_state_dict(network.backbone.state_dict())
    for own, other in zip(finer, plain.eval()(image)[:-1], strict=True):
        assert torch.equal(own, other)


def test_one_slice_alone_and_one_voxel_deep_can_be_learned_from(network):
    """The average over the slice has one voxel a channel, for which batch norm has nothing."""
    network.train()
    (logits,) = network(torch.randn(1, 1, 5, 64, 64))
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
