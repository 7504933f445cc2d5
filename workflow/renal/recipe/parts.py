"""Parts of a recipe that single steps use: what is left out of them does not re-run the step."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from renal.evaluate.settings import External, ExternalFile, MergedStage, Merging
from renal.handover.foreign import files_of_case
from renal.image.boxes import three
from renal.image.settings import Components, Geometry
from renal.labels import KITS19, Labels
from renal.learn.settings import Prediction
from renal.learn.targets import maps_of
from renal.prepare.settings import RegionCrop
from renal.recipe.method import Method, Stage
from renal.report.settings import Row
from renal.settings import Extent, settings_hash


def owners_of(recipes: dict[str, Method], method: str, stage: str) -> tuple[str, ...]:
    """The methods whose models make a stage of `method`: itself, or those that it takes it from."""
    if stage in recipes[method].stages:
        return (method,)
    return tuple(
        owner
        for member in recipes[method].members[stage].of
        for owner in owners_of(recipes, member, stage)
    )


def stage_of(recipes: dict[str, Method], method: str, stage: str) -> Stage:
    """A stage of `method`, its own or the first of those that it takes from other recipes."""
    member = recipes[method].members.get(stage)
    if member is None:
        return recipes[method].stages[stage]
    taken = stage_of(recipes, member.of[0], stage)
    if member.components is None:
        return taken
    return taken.model_copy(update={"components": member.components})


def region_crop(recipes: dict[str, Method], method: str, stage: str) -> RegionCrop:
    """What crop_roi needs to know for a stage of `method` that looks at predicted regions."""
    looking = recipes[method].stages[stage]
    regions = looking.regions
    if regions is None:
        raise ValueError(f"stage {stage} of {method} looks at whole volumes")
    earlier = stage_of(recipes, method, regions.stage)
    # Along an axis that is not cut, true regions must reach as far as predicted ones do.
    outer = earlier.regions if len(regions.axes) < 3 else None
    return RegionCrop(
        geometry=looking.geometry,
        intensity=looking.intensity,
        # Jitter is for true regions.
        regions=regions.model_copy(update={"jitter_mm": (0, 0, 0)}),
        components=earlier.components,
        of_slices=earlier.training.network.classifies,
        outer=outer,
        least=_least(looking),
    )


def _least(stage: Stage) -> Extent:
    """Voxels (z, y, x) of a patch where regions decide how many there are: they hold one then."""
    if stage.training.network.flat:
        return (None, None, None)
    seen = zip(stage.geometry.sizes, *stage.seen, strict=True)
    return three(None if fixed else max(n or 0 for n in sizes) for fixed, *sizes in seen)


def true_region_crop(recipes: dict[str, Method], method: str, stage: str) -> RegionCrop:
    """What crop_roi needs to know for the true regions that a stage of `method` learns from."""
    crop = region_crop(recipes, method, stage)
    return crop.model_copy(update={"regions": recipes[method].stages[stage].regions})


def true_folder(recipes: dict[str, Method], method: str, stage: str) -> Path:
    """Where below the results those volumes or true regions lie that a stage learns from."""
    settings = recipes[method].stages[stage]
    if settings.regions is None:
        return Path("normalized", sized(settings.geometry), settings_hash(settings.intensity))
    crop = true_region_crop(recipes, method, stage)
    return Path("true_roi", sized(crop.geometry, crop))


def sized(geometry: Geometry, *parts: Any) -> str:
    """A readable name of a grid, with a hash of its settings or of some others."""
    axes = [
        str(size or (f"{spacing:g}mm" if spacing else "native"))
        for size, spacing in zip(geometry.sizes, geometry.spacings, strict=True)
    ]
    return f"{'x'.join(axes)}-{settings_hash(*(parts or (geometry,)))}"


def prediction(stage: Stage) -> Prediction:
    """The part of a stage that prediction uses."""
    training = stage.training
    return Prediction(
        network=training.network,
        target=training.target,
        channels_in=training.sampler.channels,
        acceleration=training.acceleration,
        inference=stage.inference,
    )


def regions_of(recipes: dict[str, Method], method: str, labels: Labels = KITS19) -> tuple[str, ...]:
    """The regions that a row looks for, outer ones first."""
    recipe = recipes[method]
    if recipe.nnunet is not None:
        return labels.names
    origin = recipe.merge or recipe.external
    found = set(origin.regions) if origin else set()
    for row in recipe.rows:
        found.update(regions_of(recipes, row, labels))
    return tuple(name for name in labels.names if name in found)


def merging(recipes: dict[str, Method], method: str, labels: Labels = KITS19) -> Merging:
    """The part of a recipe that merging and scoring use."""
    merge, found = recipes[method].merge, regions_of(recipes, method, labels)
    looked_for = None if found == labels.names else found
    if merge is None:
        return Merging(family=recipes[method].family, regions=looked_for)
    stage_at = {role: place.partition(".")[0] for role, place in merge.maps.items()}
    names = dict.fromkeys(stage_at.values())
    merged = {name: stage_of(recipes, method, name) for name in names}
    stages = {
        name: MergedStage(
            maps=maps_of(stage.training.target, labels),
            of_slices=stage.training.network.classifies,
            components=stage.components,
            members=len(owners_of(recipes, method, name)),
        )
        for name, stage in merged.items()
    }
    grid, last = stage_at[found[0]], stage_at[found[-1]]
    looking = merged[grid]
    while looking.regions is not None:
        grid, looking = looking.regions.stage, stage_of(recipes, method, looking.regions.stage)
    box = merged[last].regions
    # A mask loses more than its box does; what is left of it is what the scores show.
    located = last if box is not None and not box.mask else None
    # Grids over the same part of the scan; components are counted on the native one.
    boxes = {(stage.geometry.extent_mm, stage.geometry.body) for stage in merged.values()}
    whole = all(
        stage.regions is None and stage.components == Components() and not told.of_slices
        for stage, told in zip(merged.values(), stages.values(), strict=True)
    )
    return Merging(
        family=recipes[method].family,
        stages=stages,
        merge=merge,
        grid=grid,
        on_one_grid=whole and len(boxes) == 1,
        located=located,
        regions=looked_for,
    )


def imported(method: Method, labels: Labels = KITS19) -> External:
    """Which files a row takes over, and what they mean: another program's, or nnU-Net's."""
    if method.external is not None:
        return method.external
    values = {labels.own_value(region): region.name for region in labels.regions}
    return External(
        files=(ExternalFile(path="{case}.nii.gz", labels=values),), trained_on_these=False
    )


def external_files(recipes: dict[str, Method], method: str, case: str) -> list[Path]:
    """The files of another program that there are of a case."""
    external = recipes[method].external
    if external is None:
        return []
    found = (files_of_case(external.folder, file.path, case) for file in external.files)
    return [path for paths in found for path in paths]


def planned_on_these(recipes: dict[str, Method], method: str) -> bool:
    """Whether anything of a row was planned by nnU-Net, which looks at held-out cases, too."""
    recipe = recipes[method]
    return recipe.nnunet is not None or any(planned_on_these(recipes, of) for of in recipe.rows)


def trained_on_these(recipes: dict[str, Method], method: str) -> bool | Literal["unknown"] | None:
    """What is known of other programs in a row: learned from these cases, "unknown", or not.

    Of several the worst; None without any.
    """
    settings = recipes[method]
    told = {trained_on_these(recipes, of) for of in settings.rows}
    if settings.external:
        told.add(settings.external.trained_on_these)
    worst_first: tuple[bool | Literal["unknown"], ...] = (True, "unknown", False)
    return next((known for known in worst_first if known in told), None)


def row(recipes: dict[str, Method], method: str, cases: Iterable[str] = ()) -> Row:
    """The part of a recipe that tables use, with how many of their cases it left out."""
    settings = recipes[method]
    missing = [case for case in cases if not external_files(recipes, method, case)]
    names = [*settings.stages, *settings.members]
    validated = any(stage_of(recipes, method, name).training.validation for name in names)
    return Row(
        family=settings.family,
        title=settings.title,
        published=settings.published,
        validated=validated or any(row(recipes, of).validated for of in settings.rows),
        planned_on_these=planned_on_these(recipes, method),
        missing=len(missing) if settings.external else 0,
        trained_on_these=trained_on_these(recipes, method),
    )
