"""What is wrong with recipes that are right by themselves, told before anything runs."""

import math

from renal.errors import InputError
from renal.labels import Labels
from renal.learn.targets import maps_of
from renal.recipe.configuration import Configuration
from renal.recipe.method import Method
from renal.recipe.parts import owners_of, region_crop, stage_of
from renal.settings import settings_hash


def check_sizes(configuration: Configuration, methods: dict[str, Method]) -> None:
    """Refuse a grid of more voxels than the largest volume that is read.

    Raises
    ------
    InputError
        With the method and stage.
    """
    limit = configuration.data.maximum_voxels
    for name, method in methods.items():
        for stage_name, stage in method.stages.items():
            for size in (stage.geometry.sizes, *stage.seen):
                voxels = math.prod(length or 1 for length in size)
                if voxels > limit:
                    raise InputError(
                        f"config.yaml: stage {stage_name} of {name} has a grid of {voxels} voxels, "
                        f"more than data.maximum_voxels ({limit}): choose a smaller size"
                    )


def check_precision(configuration: Configuration, methods: dict[str, Method]) -> None:
    """Refuse grids on which torch 2.13's bfloat16 convolutions on the CPU are wrong.

    Where depth has come down to two slices, the gradient of a 3x3x3 convolution is not the same
    twice and at times not a number.

    Raises
    ------
    InputError
        With the method and stage.
    """
    for name, method in methods.items() if configuration.compute.bfloat16_on_cpu else ():
        for stage_name, stage in method.stages.items():
            network = stage.training.network
            depth = min(size[0] or math.inf for size in stage.seen)
            if not network.flat and depth < 3 * network.divisor[0]:
                raise InputError(
                    f"config.yaml: compute.bfloat16_on_cpu: stage {stage_name} of {name} is "
                    f"{depth} slices deep, too few for bfloat16 without a GPU: set it to false"
                )


def check_members(recipes: dict[str, Method], name: str, method: Method, labels: Labels) -> None:
    """Refuse stages taken from other recipes, regions and maps that do not go together.

    Raises
    ------
    InputError
        With the file and key.
    """
    source = f"workflow/methods/{name}.yaml"
    for taken in method.members:
        _check_origin(recipes, taken, (name,))
        regions = stage_of(recipes, name, taken).regions
        if regions is not None and regions.stage not in {**method.stages, **method.members}:
            raise InputError(
                f"{source}: members.{taken}: it looks at regions of stage {regions.stage}, "
                f"which is none here: add members.{regions.stage}"
            )
        owners = owners_of(recipes, name, taken)
        alike = {
            (
                settings_hash(part.geometry, part.regions),
                part.training.target,
                part.regions and owners_of(recipes, owner, part.regions.stage),
            )
            for owner, part in ((owner, recipes[owner].stages[taken]) for owner in owners)
        }
        if len(alike) > 1:
            raise InputError(
                f"{source}: members.{taken}.of: {', '.join(owners)} differ in geometry, target, "
                "or regions and who finds them, so their voxels cannot be averaged: make them alike"
            )
    for stage_name, stage in method.stages.items():
        if stage.regions and len(owners_of(recipes, name, stage.regions.stage)) > 1:
            raise InputError(
                f"{source}: stages.{stage_name}.regions.stage: regions come from one model, not "
                f"from the mean of several: name one in members.{stage.regions.stage}.of"
            )
        if (
            stage.regions
            and stage.regions.mask
            and region_crop(recipes, name, stage_name).of_slices
        ):
            raise InputError(
                f"{source}: stages.{stage_name}.regions.mask: stage {stage.regions.stage} tells "
                "slices, which are no mask: leave it out"
            )
    for role, place in method.merge.maps.items() if method.merge else ():
        named, _, channel = place.partition(".")
        stage = stage_of(recipes, name, named)
        if stage.components.runs is not None:
            raise InputError(
                f"{source}: merge.maps.{role}: components.runs of stage {named} make regions, "
                "and are no part of a merge: leave runs out"
            )
        maps = maps_of(stage.training.target, labels)
        if (channel and channel not in maps) or (not channel and len(maps) > 1):
            choice = ", ".join(f"{named}.{known}" for known in maps)
            raise InputError(f"{source}: merge.maps.{role} is {place!r}: choose from {choice}")


def _check_origin(recipes: dict[str, Method], stage: str, path: tuple[str, ...]) -> None:
    """Refuse members that lead to a recipe without the stage, or round in a circle."""
    name = path[-1]
    for of in recipes[name].members[stage].of if stage in recipes[name].members else ():
        source = f"workflow/methods/{name}.yaml: members.{stage}.of"
        if of in path:
            circle = " -> ".join((*path, of))
            raise InputError(f"{source}: no recipe trains it ({circle}): break the circle")
        if stage not in {**recipes[of].stages, **recipes[of].members}:
            raise InputError(f"{source}: {of} has no stage {stage}: mend it")
        _check_origin(recipes, stage, (*path, of))
