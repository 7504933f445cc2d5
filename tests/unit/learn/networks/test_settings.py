"""What recipes may say of networks: what cannot be built is refused, and traits are the layers'."""

import pytest
from pydantic import TypeAdapter
from torch import nn

from renal import recipe
from renal.errors import InputError
from renal.learn.networks import build_network
from renal.learn.networks.settings import Network
from tests.unit.recipe.helpers import assert_one_line, nested

UNET = {"name": "unet", "depth": 2, "width": 2}
SMALL = {
    "cascade": {"name": "res_vnet_cascade", "width": 2, "dropout": 0},
    "cascade, instance": {
        **{"name": "res_vnet_cascade", "width": 2, "dropout": 0},
        "normalization": "instance",
    },
    "U-Net 2D, batch": {**UNET, "dimensions": 2, "normalization": "batch"},
    "U-Net 2D, group": {**UNET, "dimensions": 2, "normalization": "group"},
    "U-Net 2D, instance": {**UNET, "dimensions": 2, "normalization": "instance"},
    "U-Net 3D, group": {**UNET, "dimensions": 3, "normalization": "group"},
    "tunet": {"name": "tunet", "width": 2, "depth": 2, "groups": 1, "pyramid": False},
    "Res-UNet": {"name": "res_unet", "width": 2, "dropout": 0, "supervised": False},
    "mrbnet, batch": {
        **{"name": "mrb_unet", "widths": [6, 6], "alpha": 1, "extra_up": 0},
        "normalization": "batch",
    },
    "mrbnet, instance": {
        **{"name": "mrb_unet", "widths": [6, 6], "alpha": 1, "extra_up": 0},
        "normalization": "instance",
    },
}
# PyTorch computes both with channels first, whatever lies before them.
CHANNELS_FIRST = (nn.GroupNorm, nn.InstanceNorm2d, nn.InstanceNorm3d)


@pytest.mark.parametrize("name", SMALL)
def test_channels_lie_last_where_no_layer_wants_them_first(name):
    settings = TypeAdapter(Network).validate_python(SMALL[name])
    network = build_network(settings, 1, ("kidney", "tumour") if settings.cascaded else "kidney")
    wants = any(isinstance(layer, CHANNELS_FIRST) for layer in network.modules())
    assert settings.channels_last == (not wants)


def test_doubling_in_3d_is_for_channels_first():
    settings = TypeAdapter(Network).validate_python(
        {**UNET, "dimensions": 3, "normalization": "batch"}
    )
    assert not settings.channels_last


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (
            "mrbnet.segment.alpha",
            0.1,
            "alpha times the smallest of widths must be 6 or more",
        ),
        ("mrbnet.segment.extra_up", 5, "extra_up is more than there are decoder levels"),
        ("damnet.fine.paths", ["two_d", "two_d"], "paths must be different ones"),
        ("damnet.fine.neighbours", 4, "neighbours must be odd"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(place, value, told):
    method, stage, key = place.split(".")
    changes = nested(f"stages.{stage}.training.network.{key}", value)
    with pytest.raises(InputError) as error:
        recipe.load_method(method, changes)
    assert_one_line(error, f"overrides.{method}: stages.{stage}.training.network", told)
