"""Recipes say what the papers say."""

import numpy as np
import pytest
import torch

from renal import recipe
from renal.evaluate.merges.settings import Nested
from renal.image.settings import Components, Regions, Runs
from renal.learn.augmentations import augment
from renal.learn.augmentations.settings import Flip, Rotation
from renal.learn.inferers.settings import WindowInference
from renal.learn.losses.settings import DecayingSupervision, DiceLoss, TverskyLoss
from renal.learn.optimizers.settings import Adam
from renal.learn.samplers.settings import WindowSampler
from renal.prepare.intensity import normalize, statistics_of
from tests.unit.recipe.helpers import DEMOS, demonstrated


def test_resvnet_sees_what_the_paper_says(resvnet):
    whole, tumour = resvnet.stages["whole"], resvnet.stages["tumour"]
    assert list(resvnet.stages) == ["whole", "tumour"]
    assert whole.geometry.size == (128, 160, 160)
    assert whole.geometry.body.threshold_hu == -200
    assert whole.regions is None
    assert tumour.geometry.size == (48, 96, 96)  # two of them stacked: 96 x 96 x 96
    assert tumour.geometry.body is None
    for stage in (whole, tumour):
        level, width = 30, 310
        assert stage.intensity.window == (level - width / 2, level + width / 2)
        assert stage.intensity.standardize
        assert stage.intensity.rescale == (-1, 1)
        assert stage.geometry.interpolation == "linear"


def test_resvnet_learns_as_the_paper_says(resvnet):
    whole = resvnet.stages["whole"].training
    tumour = resvnet.stages["tumour"].training
    assert (whole.target, tumour.target) == ("kidney", "tumour")
    assert (whole.batch_size, tumour.batch_size) == (2, 4)
    assert (whole.schedule.factor, whole.schedule.epochs) == (0.90, 10)
    assert (tumour.schedule.factor, tumour.schedule.epochs) == (0.94, 5)
    assert not whole.sampler.shuffle_regions
    assert tumour.sampler.shuffle_regions
    # Outside of the first stage's volume is air, outside of a masked region 0.
    for training, fill in ((whole, -1), (tumour, 0)):
        assert training.network.name == "res_vnet_cascade"
        assert training.network.width == 16
        assert training.network.dropout == 0.3
        assert training.network.normalization == "instance"  # the paper is silent
        assert training.loss == DiceLoss(name="dice", squared=True)
        assert training.optimizer == Adam(name="adam", learning_rate=1e-3)
        assert training.epochs == 500
        assert training.augmentation == (
            Rotation(name="rotation", degrees=90, fill=fill),
            Flip(name="flip", probability=0.5),
        )


def test_resvnet_plain_differs_by_what_public_code_leaves_out(resvnet, everything):
    plain = everything["resvnet_plain"]
    for name, stage in resvnet.stages.items():
        network = stage.training.network.model_copy(update={"normalization": "none"})
        training = stage.training.model_copy(update={"network": network})
        assert plain.stages[name] == stage.model_copy(update={"training": training})
    assert (plain.merge, plain.family) == (resvnet.merge, resvnet.family)


def test_resvnet_cleans_and_merges_as_the_paper_says(resvnet):
    regions = resvnet.stages["tumour"].regions
    assert resvnet.stages["whole"].components == Components(minimum_voxels=100)
    assert regions == Regions(stage="whole", count=2, repeat=True, margin_voxels=0, mask=True)
    assert resvnet.merge == Nested(name="nested", maps={"kidney": "whole", "tumour": "tumour"})
    assert resvnet.published is None


def test_every_recipe_of_the_repository_trains_or_takes_from_elsewhere(everything):
    assert {"resvnet", "mrbnet", "damnet", "tunet", "msvnet"} <= set(everything)
    for name, method in everything.items():
        merging = recipe.merging(everything, name)
        assert merging.family == method.family
        if method.merge is None:
            assert method.rows or method.external or method.nnunet
            assert merging.grid is None
        else:
            assert method.stages or method.members
            assert recipe.stage_of(everything, name, merging.grid).regions is None


def test_what_augmentation_fills_in_is_what_the_mask_leaves_outside(everything):
    scan = np.array([[[-1000, 0, 1000]]], np.int16)  # air, water and bone
    filled = {}
    demos = [method for demo in DEMOS for method in demonstrated(demo).values()]
    for method in (*everything.values(), *demos):
        for stage in method.stages.values():
            if stage.regions is None or not stage.regions.mask:
                continue
            outside = 0.0
            if stage.regions.masked_hu is not None:
                value = np.full((1, 1, 1), stage.regions.masked_hu, np.int16)
                outside = normalize(
                    value, stage.intensity, statistics_of(scan, stage.intensity)
                ).item()
            fills = [getattr(step, "fill", outside) for step in stage.training.augmentation]
            assert fills == [pytest.approx(outside, abs=1e-3)] * len(fills)
            filled[method.family] = outside
    assert filled == {"resvnet": 0, "msvnet": pytest.approx(-0.225, abs=1e-3)}


def test_msvnet_masks_the_scan_in_full_slices_with_kidney(everything):
    regions = everything["msvnet"].stages["tumour"].regions
    assert (regions.mask, regions.masked_hu, regions.axes) == (True, 0, ("z",))
    steps = {
        step.name: step for step in everything["msvnet"].stages["tumour"].training.augmentation
    }
    for name in ("affine", "equalize"):
        assert steps[name].fill == -0.225


def test_mrbnet_looks_for_the_box_within_the_range_of_slices(everything):
    stages = everything["mrbnet"].stages
    assert stages["locate"].regions.axes == ("z", "y", "x")
    assert stages["segment"].regions.axes == ("y", "x")
    assert stages["segment"].regions.margin_mm[0] == 0


# What the papers say of each method, by the recipe's keys.
PAPERS = {
    "mrbnet": {
        "zrange.training.network.name": "resnet34_slices",
        "zrange.training.target": "slices",
        "locate.training.network.dimensions": 2,
        "locate.training.target": "kidney",
        "segment.geometry.spacing": (1, 1, 1),
        "segment.training.network.name": "mrb_unet",
        "segment.training.sampler.size": (80, 128, 128),
        "segment.training.loss.name": "dice_cross_entropy",
        "segment.training.loss.activation": "sigmoid",
        "segment.inference.size": (80, 128, 128),
        **{
            f"{stage}.{key}": value
            for stage in ("zrange", "locate", "segment")
            for key, value in {
                "intensity.window": (-100, 350),
                "training.optimizer.name": "sgd",
                "training.optimizer.learning_rate": 0.01,
                "training.schedule.name": "plateau",
                "training.schedule.factor": 0.1,
                "training.schedule.patience": 3,
                "training.stopping.minimum_epochs": 30,
                "training.stopping.minimum_rate": 1e-6,
                "training.augmentation.0.degrees": 30,
                "training.augmentation.1.name": "flip",
            }.items()
        },
    },
    "damnet": {
        "coarse.geometry.size": (None, 256, 256),
        "coarse.training.network.dimensions": 3,
        "coarse.training.loss": TverskyLoss(
            name="tversky", false_negatives=0.7, false_positives=0.3, over="batch"
        ),
        "coarse.components.minimum_voxels": 4001,
        "coarse.components.counted_on": (None, 256, 256),  # "resize", then "pixels"
        "coarse.components.keep": 2,
        "fine.geometry.size": None,
        "fine.geometry.spacing": None,
        "fine.regions.count": 2,
        "fine.training.network.backbone": "resnet34",
        "fine.training.network.paths": ("two_d", "three_d", "adapted"),
        "fine.training.network.pretrained.sha256": "b627a593",
        **{
            f"{stage}.{key}": value
            for stage in ("coarse", "fine")
            for key, value in {
                "intensity.window": (-100, 300),
                "intensity.rescale": (-1, 1),
                "training.optimizer.name": "adam",
                "training.optimizer.learning_rate": 1e-3,
                "training.stopping.patience": 5,
                "training.validation.share": 21 / 168,
                "training.validation.keep": "best",
                "training.epochs": 100,
                "training.augmentation": (),
            }.items()
        },
    },
    "tunet": {
        "segment.geometry.size": (128, 256, 256),
        "segment.geometry.extent_mm": (300 * 2.5, 576, 576),  # what the authors' code pads to
        "segment.intensity.standardize": True,
        "segment.intensity.window": None,
        "segment.training.sampler.size": (128, 128, 128),
        "segment.training.sampler.stride": (128 - 96,) * 3,
        "segment.inference.overlap": (96, 96, 96),
        "segment.training.network.pyramid": True,
        "segment.training.network.squeeze": None,
        "segment.training.loss.channels": "sum",
        "segment.training.optimizer.learning_rate": 1e-4,
        "segment.training.optimizer.betas": (0.9, 0.999),
        "segment.training.optimizer.kernel_l2": 1e-5,
        "segment.training.schedule.factor": 0.2,
        "segment.training.schedule.patience": 6,
        "segment.training.stopping.patience": 15,
        "segment.training.epochs": 200,
        "segment.training.batch_size": 1,
        "segment.training.augmentation.0.degrees": 1,
    },
    "msvnet": {
        "kidney.geometry.spacing": (2, None, None),
        "kidney.geometry.size": (None, 256, 256),
        "kidney.training.sampler": WindowSampler(
            name="windows", length=64, around="kidney", extend=50
        ),
        "kidney.training.network.supervised": True,
        "kidney.training.loss.name": "dice",
        "kidney.training.supervision": DecayingSupervision(weight=0.33, factor=0.8, epochs=15),
        "kidney.training.epochs": 500,
        "kidney.training.augmentation.0.axes": ("x",),
        "kidney.inference": WindowInference(name="windows", length=64, step=32, keep=(16, 48)),
        "tumour.geometry.spacing": (1, None, None),
        "tumour.geometry.size": (None, 512, 512),
        "tumour.training.sampler.only": "kidney",
        "tumour.training.drawing.name": "hard",
        "tumour.training.network.multi_scale": True,
        "tumour.training.network.attention": True,
        "tumour.training.network.dilations": (2, 3, 5),
        "tumour.training.loss.name": "focal_dice",
        "tumour.components.keep": 1,
    },
}


# Choices where a paper is silent; why is in the recipe.
CHOSEN = {
    "mrbnet": {
        "zrange.components.runs": Runs(smooth=15, bridge=40, least=20),  # mm, not slices
    },
    "damnet": {
        "coarse.training.sampler.per_case": 4,  # with one window, patience ends training too soon
        "coarse.inference.size": (64, 256, 256),  # as long as those it learned from
    },
    "msvnet": {
        "kidney.training.network.normalization": "none",
        "tumour.training.drawing.least": 0.2,
        "tumour.training.augmentation.0.name": "affine",  # turned, shifted and cut at once
        "tumour.training.augmentation.0.probability": 0.5,  # half of the slices as they are applied
    },
    "tunet_unet2d": {"segment.training.network.normalization": "group"},
    "tunet_unet3d": {"segment.training.network.normalization": "group"},
}


def value_of(section: object, key: str) -> object:
    for part in key.split("."):
        section = section[int(part)] if part.isdigit() else getattr(section, part)
    return section


@pytest.mark.parametrize("name", CHOSEN)
def test_a_recipe_keeps_what_was_chosen_where_its_paper_is_silent(everything, name):
    found = {}
    for path in CHOSEN[name]:
        stage, _, key = path.partition(".")
        found[path] = value_of(everything[name].stages[stage], key)
    assert found == CHOSEN[name]


@pytest.mark.parametrize("name", PAPERS)
def test_a_recipe_says_what_its_paper_says(everything, name):
    stages = everything[name].stages
    assert list(stages) == list(dict.fromkeys(key.partition(".")[0] for key in PAPERS[name]))
    found = {}
    for path in PAPERS[name]:
        stage, _, key = path.partition(".")
        found[path] = value_of(stages[stage], key)
    assert found == PAPERS[name]


def test_damnets_published_scores_are_the_papers(everything):
    published = everything["damnet"].published
    assert (published.dice["kidney"][0], published.dice["tumour"][0]) == (0.9655, 0.7520)
    assert published.dice["composite"][0] == 0.8587


def test_a_stage_predicts_in_patches_of_the_size_it_learned_from(everything):
    for name, stage in (("mrbnet", "segment"), ("damnet", "fine"), ("tunet", "segment")):
        settings = everything[name].stages[stage]
        assert settings.inference.size == settings.training.sampler.size


def test_tunets_dice_is_smoothed_below_alone(everything):
    rows = [method for method in everything.values() if method.family == "tunet"]
    losses = [stage.training.loss for method in rows for stage in method.stages.values()]
    smoothed = [loss.smooth for loss in losses if loss.name == "dice"]
    assert len(smoothed) >= 2 and set(smoothed) == {(0, 1e-5)}


# Rows that a paper compares with: the row beneath, the stage, and all that differs in it.
COMPARED = {
    "msvnet_unet": ("msvnet_vnet", "tumour", {"network"}),
    "msvnet_deeplab": ("msvnet_vnet", "tumour", {"network"}),
    "msvnet_vnet3d": ("msvnet_vnet", "tumour", {"sampler", "network", "batch_size"}),
    "msvnet_dice": ("msvnet_hdc", "tumour", {"loss"}),
    "damnet_2d": ("damnet", "fine", {"network"}),
    "damnet_3d": ("damnet", "fine", {"network"}),
    "damnet_adapted": ("damnet", "fine", {"network"}),
}


@pytest.mark.parametrize("name", COMPARED)
def test_a_row_to_compare_with_differs_in_what_it_is_named_for(everything, name):
    base, stage, expected = COMPARED[name]
    own, other = (everything[row].stages[stage].training for row in (name, base))
    differing = {key for key, value in own if value != getattr(other, key)}
    assert differing == expected
    assert list(everything[name].stages) == [stage]  # the stage before is another row's
    assert everything[name].merge == everything[base].merge


# Batch and L2 of the vanilla U-Nets are of the authors' public code; what the loss is over is not.
VANILLA = {
    "tunet_unet2d": {"loss.over": "batch", "batch_size": 32, "optimizer.kernel_l2": 0},
    "tunet_unet3d": {"loss.over": "example", "batch_size": 1, "optimizer.kernel_l2": 0},
}


@pytest.mark.parametrize("name", VANILLA)
def test_the_vanilla_nets_learn_as_public_code_has_them(everything, name):
    """In slices Dice is of the batch: most hold no kidney, and have no gradient by themselves."""
    for row in (name, f"{name}_median"):
        training = everything[row].stages["segment"].training
        assert {key: value_of(training, key) for key in VANILLA[name]} == VANILLA[name]


def test_tunet_times_l_net_trains_nothing(everything):
    row = everything["tunet_localized"]
    assert not row.stages and row.merge.maps["within"] == "localize"
    assert {
        name: recipe.owners_of(everything, "tunet_localized", name) for name in row.members
    } == {
        "segment": ("tunet",),
        "localize": ("tunet_ensemble_post",),
    }


def test_kidneys_are_mirrored_from_left_to_right(everything):
    """A half turn in the plane would show patients upside down."""
    (mirror,) = everything["msvnet"].stages["kidney"].training.augmentation
    image = torch.arange(24.0).reshape(1, 1, 2, 3, 4)
    turned, _ = augment(image, image, (mirror.model_copy(update={"probability": 1}),))
    assert torch.equal(turned, image.flip(-1))


def test_damnets_regions_hold_a_patch(everything):
    """The scan goes on around a small kidney, so that nothing of a patch is padding."""
    patch = everything["damnet"].stages["fine"].training.sampler.size
    for crop_of in (recipe.region_crop, recipe.true_region_crop):
        assert crop_of(everything, "damnet", "fine").least == patch


def test_a_window_is_seen_in_training_and_prediction_alike(everything):
    """Short scans are padded in both, to the same length."""
    coarse = everything["damnet"].stages["coarse"]
    assert coarse.inference.size[0] == coarse.training.sampler.length
