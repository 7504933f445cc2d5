"""The label scheme of a data set: what config.yaml says of it, and how steps are told.

No step hangs on this module, so that another scheme trains nothing again by KiTS19's.

References
----------
N. Heller et al., KiTS23's "hierarchical evaluation classes", ``kits23/configuration/labels.py`` in
https://github.com/neheller/kits23
"""

import json
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

from renal.errors import InputError
from renal.labels import KITS19, Code, Labels, Region
from renal.learn.targets import classes_of, maps_of
from renal.recipe.method import Method
from renal.settings import Strict

KIDNEY, TUMOUR = KITS19.regions
# Tolerances from the disagreement of KiTS21's annotators, as in the official evaluation.
KITS23 = Labels(
    tissues={**KITS19.tissues, 3: "cyst"},
    regions=(
        replace(KIDNEY, labels=(1, 2, 3), tolerance_mm=1.0330772532390826),
        Region(
            name="masses",
            labels=(2, 3),
            title="Masses",
            colour="#31c45a",
            tolerance_mm=1.1328796488598762,
            type=Code("SCT", "367643001", "Cyst"),
        ),
        replace(TUMOUR, tolerance_mm=1.1498198361434828),
    ),
    name="kits23",
)
PRESETS = {labels.name: labels for labels in (KITS19, KITS23)}

# A region's name begins columns of the scores, where an underscore ends it.
RegionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")]
TAKEN = {"background", "classes", "composite", "located", "slices", "within"}
LabelValue = Annotated[int, Field(ge=1, le=255)]
LabelScheme = str | Annotated[dict[LabelValue, str], Field(min_length=1)]


class ScoredRegion(Strict):
    """A region of own labels: the label values that it is made of, and how it is scored and shown.

    `tolerance_mm` is that of surface Dice. With `lesion` the scores say whether it was found.
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
        label value or title of their own.
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
            category=known.get(name, outermost).category,
            type=known.get(name, outermost).type,
            **region.model_dump(),
        )
        for name, region in regions.items()
    )
    _check(found, set(tissues))
    labels = Labels(tissues=tissues, regions=found)
    for region in found:
        labels.own_value(region)  # or it could not be painted
    return labels


def _check(regions: tuple[Region, ...], values: set[int]) -> None:
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
            if region.title == other.title:
                raise ValueError(
                    f"regions.{region.name}.title: {region.title!r} is that of {other.name}, too, "
                    "and tables would show one of both: choose another"
                )


def label_options(labels: Labels) -> dict[str, list[str]]:
    """What steps are told of the scheme, by what they use of it; nothing that KITS19 has, too.

    ``learned`` is what the values mean, ``scored`` how they are scored, too, and ``shown`` all of
    it, so that another colour draws, and another tolerance scores, and neither trains again.
    """
    default = _by_use(KITS19)
    return {
        use: [] if told == default[use] else ["--labels", json.dumps(told, sort_keys=True)]
        for use, told in _by_use(labels).items()
    }


def _by_use(labels: Labels) -> dict[str, dict[str, Any]]:
    values = TypeAdapter(Labels).dump_python(labels, mode="json")
    keys = {"learned": {"name", "labels"}}
    keys["scored"] = keys["learned"] | {"tolerance_mm", "lesion"}
    told = {
        use: {
            "tissues": values["tissues"],
            "regions": [{key: region[key] for key in kept} for region in values["regions"]],
        }
        for use, kept in keys.items()
    }
    return told | {"shown": values}


def read_scheme(text: str) -> Labels:
    """A table of labels from a step's command line: a published one's name, or JSON.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if text in PRESETS:
        return PRESETS[text]
    try:
        return TypeAdapter(Labels).validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise ValueError(f"choose from {', '.join(PRESETS)}, or give JSON ({fault})") from error


def check_regions(recipes: dict[str, Method], labels: Labels) -> None:
    """Refuse recipes that are to find what the scheme of labels does not have.

    Raises
    ------
    InputError
        With the file and key.
    """
    for name, method in recipes.items():
        for key, regions, exclusive in _named(method, labels):
            source = f"workflow/methods/{name}.yaml: {key}"
            for region in regions:
                if region not in labels.names:
                    raise InputError(
                        f"{source}: {region!r} is no region of data.labels "
                        f"({', '.join(labels.names)}): choose from these, or set data.labels"
                    )
            ordered = tuple(region for region in labels.names if region in regions)
            if exclusive and (ordered != regions or ordered[0] != labels.names[0]):
                raise InputError(
                    f"{source}: {labels.names[0]} is expected, then regions within it, outer ones "
                    "first: mend it"
                )
        published = method.published
        if published is not None:
            known = PRESETS.get(published.labels, labels).names
            for region in published.dice:
                if region not in (*known, "composite"):
                    raise InputError(
                        f"workflow/methods/{name}.yaml: published.dice: {region!r}: choose from "
                        f"{', '.join(known)} and composite"
                    )
        if method.merge is not None and labels.names[0] not in method.merge.regions:
            raise InputError(
                f"workflow/methods/{name}.yaml: merge.maps: {labels.names[0]}, which all others "
                "lie within, is missing: add it"
            )


def _named(method: Method, labels: Labels) -> list[tuple[str, tuple[str, ...], bool]]:
    """Keys of a recipe, the regions that they name, and whether these are exclusive classes."""
    found = []
    for stage, settings in method.stages.items():
        target = settings.training.target
        classes = bool(classes_of(target))
        key = f"stages.{stage}.training.target"
        # The word `classes` has no key of its own below it.
        key += ".classes" if classes and target != "classes" else ""
        found.append((key, maps_of(target, labels), classes))
    if method.merge is not None:
        found.append(("merge.maps", method.merge.regions, False))
    if method.average is not None:
        found.append(("average.components", tuple(method.average.components), False))
    for number, file in enumerate(method.external.files if method.external else ()):
        found.append((f"external.files.{number}.labels", tuple(file.labels.values()), False))
    return found
