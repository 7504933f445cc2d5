"""The label scheme of a data set: what config.yaml says of it, and how steps are told."""

import json
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, TypeAdapter

from renal.errors import InputError
from renal.labels import KITS19, PRESETS, Labels, Region
from renal.recipe.method import Method
from renal.settings import Strict

# A region's name begins columns of the scores, where an underscore ends it.
RegionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")]
TAKEN = {"background", "classes", "composite", "located", "slices", "within"}
LabelValue = Annotated[int, Field(ge=1, le=255)]
LabelScheme = str | Annotated[dict[LabelValue, str], Field(min_length=1)]


class ScoredRegion(Strict):
    """A region of own labels: the label values that it is made of, and how it is scored and shown.

    Its surface Dice is DeepMind's, at `tolerance_mm`. With `lesion` the scores say whether it was
    found.
    """

    labels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    title: str
    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]
    tolerance_mm: PositiveFloat
    lesion: bool = False


Regions = Annotated[dict[RegionName, ScoredRegion], Field(min_length=1)]


def labels_of(scheme: str | dict[int, str], regions: dict[str, ScoredRegion] | None) -> Labels:
    """The table of labels and regions.

    Parameters
    ----------
    scheme : str or dict
        The name of a published one, or label value to tissue.
    regions : dict, optional
        Name to region, outer ones first; without them those of the published scheme.

    Raises
    ------
    ValueError
        If there is no such scheme, or regions are missing, or neither nested nor apart, or have no
        label value of their own.
    """
    if isinstance(scheme, str) and scheme not in PRESETS:
        raise ValueError(f"labels: choose from {', '.join(PRESETS)}, or say what each value is")
    if regions is None:
        if isinstance(scheme, str):
            return PRESETS[scheme]
        raise ValueError("regions: labels of your own need regions of your own: add them")
    tissues = dict(PRESETS[scheme].tissues if isinstance(scheme, str) else scheme)
    if sorted(tissues) != list(range(1, len(tissues) + 1)):
        raise ValueError(f"labels: values from 1 without a gap are expected (are {list(tissues)})")
    outermost = Region(name="", labels=())
    known = {region.name: region for region in KITS19.regions}
    found = tuple(
        Region(
            name=name,
            surface="areas",
            category=known.get(name, outermost).category,
            type=known.get(name, outermost).type,
            **region.model_dump(),
        )
        for name, region in regions.items()
    )
    _check(found, set(tissues))
    return Labels(tissues=tissues, regions=found)


def _check(regions: tuple[Region, ...], values: set[int]) -> None:
    labels = Labels(tissues={}, regions=regions)
    for number, region in enumerate(regions):
        own = set(region.labels)
        if region.name in TAKEN:
            raise ValueError(f"regions.{region.name}: something else has this name: rename it")
        if not own <= values:
            raise ValueError(f"regions.{region.name}.labels: choose from {sorted(values)}")
        if number == 0 and own != values:
            raise ValueError(f"regions.{region.name}: the first region holds all label values")
        for other in regions[:number]:
            shared = own & set(other.labels)
            if shared and (shared != own or own == set(other.labels)):
                raise ValueError(
                    f"regions.{region.name}: it lies neither within {other.name} nor apart from it"
                )
        if len(labels.classes(labels.names)[region.name]) != 1:
            raise ValueError(
                f"regions.{region.name}: it needs one label value that no region within it has"
            )


def label_options(labels: Labels) -> dict[str, list[str]]:
    """What steps are told of the scheme, by what they use of it; nothing of KiTS19's.

    ``learned`` is what the values mean, ``scored`` how they are scored, too, and ``shown`` all of
    it, so that another colour draws, and another tolerance scores, and neither trains again.
    """
    parts = {"learned": {"name", "labels"}}
    parts["scored"] = parts["learned"] | {"tolerance_mm", "surface", "lesion"}
    if labels == KITS19:
        return {use: [] for use in (*parts, "shown")}
    if labels.name:
        return {use: ["--labels", labels.name] for use in (*parts, "shown")}
    values = TypeAdapter(Labels).dump_python(labels, mode="json", exclude={"name"})
    told = {"shown": values}
    for use, keys in parts.items():
        regions = [{key: region[key] for key in keys} for region in values["regions"]]
        told[use] = {"tissues": values["tissues"], "regions": regions}
    return {use: ["--labels", json.dumps(told[use], sort_keys=True)] for use in told}


def check_regions(recipes: dict[str, Method], labels: Labels) -> None:
    """Refuse recipes that are to find what the scheme of labels does not have.

    Raises
    ------
    InputError
        With the file and key.
    """
    for name, method in recipes.items():
        for key, regions in _named(method):
            source = f"workflow/methods/{name}.yaml: {key}"
            for region in regions:
                if region not in labels.names:
                    raise InputError(
                        f"{source}: {region!r} is no region of data.labels "
                        f"({', '.join(labels.names)}): choose from these, or set data.labels"
                    )
            ordered = tuple(region for region in labels.names if region in regions)
            if key.endswith("classes") and (ordered != regions or ordered[0] != labels.names[0]):
                raise InputError(
                    f"{source}: {labels.names[0]} is expected, then regions within it, outer ones "
                    "first: mend it"
                )
        if method.merge is not None and labels.names[0] not in method.merge.regions:
            raise InputError(
                f"workflow/methods/{name}.yaml: merge.maps: {labels.names[0]}, which all others "
                "lie within, is missing: add it"
            )


def _named(method: Method) -> list[tuple[str, tuple[str, ...]]]:
    """Keys of a recipe to the regions that they name."""
    found = []
    for stage, settings in method.stages.items():
        target = settings.training.target
        key = f"stages.{stage}.training.target"
        if isinstance(target, tuple):
            found.append((key, target))
        elif isinstance(target, str):
            found.append((key, () if target in ("classes", "slices") else (target,)))
        else:
            found.append((f"{key}.classes", target.classes))
    if method.merge is not None:
        found.append(("merge.maps", method.merge.regions))
    if method.average is not None:
        found.append(("average.components", tuple(method.average.components)))
    for number, file in enumerate(method.external.files if method.external else ()):
        found.append((f"external.files.{number}.labels", tuple(file.labels.values())))
    return found
