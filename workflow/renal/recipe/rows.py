"""Rows made of other rows, and rows of other programs: their parts for single steps."""

from collections.abc import Iterator

from renal.errors import InputError
from renal.evaluate.settings import AveragedMap, Averaging, Voting
from renal.labels import KITS19, Labels
from renal.learn.nnunet.layout import STAGE
from renal.learn.targets import maps_of
from renal.recipe.method import Method
from renal.recipe.parts import owners_of, regions_of, stage_of


def averaging(recipes: dict[str, Method], method: str, labels: Labels = KITS19) -> Averaging:
    """What the average of a row's rows is made of."""
    average = recipes[method].average
    if average is None:
        raise ValueError(f"{method} averages no rows")
    weights = average.weights or (1.0,) * len(average.of)
    regions: dict[str, list[AveragedMap]] = {}
    for row, weight in zip(average.of, weights, strict=True):
        merge = recipes[row].merge
        if merge is None:
            raise ValueError(f"{row} has no probabilities")  # check_rows tells it
        for region in regions_of(recipes, row, labels):
            stage, _, channel = merge.maps[region].partition(".")
            maps = maps_of(stage_of(recipes, row, stage).training.target, labels)
            number = maps.index(channel) if channel else 0
            place = AveragedMap(stage=f"{row}.{stage}", channel=number, weight=weight)
            regions.setdefault(region, []).append(place)
    return Averaging(
        regions={region: tuple(maps) for region, maps in regions.items()},
        components=average.components,
    )


def voting(recipes: dict[str, Method], method: str, labels: Labels = KITS19) -> Voting:
    """The rows that vote on each region of a row."""
    vote = recipes[method].vote
    if vote is None:
        raise ValueError(f"{method} does not vote")
    voters = {
        region: tuple(row for row in vote.of if region in regions_of(recipes, row, labels))
        for region in regions_of(recipes, method, labels)
    }
    return Voting(regions=voters, by=vote.by)


def models_of(recipes: dict[str, Method], method: str) -> tuple[str, ...]:
    """What a row has learned or taken from elsewhere, as row/stage: rows that share any depend."""
    recipe = recipes[method]
    own = {
        f"{owner}/{stage}"
        for stage in (*recipe.stages, *recipe.members)
        for owner in owners_of(recipes, method, stage)
    }
    if recipe.external is not None:
        own.update(str(recipe.external.folder / file.path) for file in recipe.external.files)
    if recipe.nnunet is not None:
        own.add(f"{method}/{STAGE}")
    for row in recipe.rows:
        own.update(models_of(recipes, row))
    return tuple(sorted(own))


def check_rows(recipes: dict[str, Method], name: str, method: Method) -> None:
    """Refuse rows that cannot be averaged, and rows that are made of themselves.

    Raises
    ------
    InputError
        With the file and key.
    """
    source = f"workflow/methods/{name}.yaml"
    if circle := next(_circles(recipes, (name,)), None):
        raise InputError(f"{source}: of: made of itself ({' -> '.join(circle)}): break the circle")
    for row in method.average.of if method.average else ():
        merge = recipes[row].merge
        if merge is None:
            raise InputError(
                f"{source}: average.of: {row} has segmentations and no probabilities: "
                "leave it out, or use a vote"
            )
        for region in merge.regions:
            stage = merge.maps[region].partition(".")[0]
            if stage_of(recipes, row, stage).training.network.classifies:
                raise InputError(
                    f"{source}: average.of: stage {stage} of {row} tells slices, which are no "
                    "voxels to be averaged: leave it out"
                )


def _circles(recipes: dict[str, Method], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Ways from a row back to itself through the rows that it is made of."""
    for row in recipes[path[-1]].rows:
        if row in path:
            yield (*path, row)
        else:
            yield from _circles(recipes, (*path, row))
