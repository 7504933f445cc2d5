"""Recipes and configuration: typed, and checked before anything runs.

Nothing here imports torch, because every planning of the workflow reads it. A step receives only
the part of a recipe that it uses, so that a change re-runs the steps it concerns and no others.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from renal.errors import InputError

METHODS = Path(__file__).resolve().parents[1] / "methods"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Size = tuple[PositiveInt, PositiveInt, PositiveInt]


# Folders that the results folder and a method's folder hold beside those of methods and stages.
RESERVED = (
    *("all", "benchmarks", "body", "cases", "logs", "normalized", "report", "resampled"),
    *("segmented", "tables", "true_roi"),
    *("merged", "pictures", "scores", "segmentation", "submission"),
)


class Strict(BaseModel):
    """A section in which an unknown key is an error."""

    # Settings reach the steps as JSON, which has no infinity and no NaN.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# -- What a stage sees ---------------------------------------------------------------------


class Body(Strict):
    """How the body is found on the middle slice."""

    threshold_hu: float
    opening_mm: PositiveFloat


class Geometry(Strict):
    """The grid of a stage: `size` voxels (z, y, x) over the volume, the body or a region."""

    size: Size
    body: Body | None = None
    interpolation: Literal["linear"] = "linear"


class Intensity(Strict):
    """Window in HU, standardisation per volume, and range, applied in this order."""

    window: tuple[float, float] | None = None
    standardize: bool = False
    rescale: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Intensity":
        for name in ("window", "rescale"):
            pair = getattr(self, name)
            if pair is not None and pair[0] >= pair[1]:
                raise ValueError(f"{name} must be [low, high] with low < high")
        return self


class Regions(Strict):
    """Regions of interest from the components of an earlier stage's mask, largest first."""

    stage: Name
    count: PositiveInt
    repeat: bool = False
    margin_voxels: NonNegativeInt = 0
    mask: bool = False


class Components(Strict):
    """Which connected components of a stage's native mask are kept."""

    minimum_voxels: NonNegativeInt = 0
    keep: PositiveInt | None = None


class RegionCrop(Strict):
    """What crop_roi needs to know: of the stage that looks, and of the mask that it starts from."""

    geometry: Geometry
    intensity: Intensity
    regions: Regions
    components: Components


# -- How a stage learns ---------------------------------------------------------------------


class VolumeSampler(Strict):
    """Each case once an epoch; several regions are stacked along depth into one volume."""

    name: Literal["volume"]
    shuffle_regions: bool = False


class ResVNetCascade(Strict):
    """Two Res-VNets, the first at half size (networks/res_vnet_cascade.py)."""

    name: Literal["res_vnet_cascade"]
    width: Annotated[int, Field(gt=0, multiple_of=2)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    normalization: Literal["none", "instance"] = "none"

    # Three halvings in each net, and the first net works on half the size.
    divisor: ClassVar[int] = 16


class DiceLoss(Strict):
    """Soft Dice; `squared` squares the terms of the denominator."""

    name: Literal["dice"]
    squared: bool


class Adam(Strict):
    """The Adam optimiser with torch's other defaults."""

    name: Literal["adam"]
    learning_rate: PositiveFloat


class StepSchedule(Strict):
    """Multiply the learning rate by `factor` every `epochs` epochs."""

    name: Literal["step"]
    factor: Annotated[float, Field(gt=0, le=1)]
    epochs: PositiveInt


class Rotation(Strict):
    """Rotation in the plane of the slices by an angle drawn uniformly from +-`degrees`.

    `fill` is what the normalised image has outside.
    """

    name: Literal["rotation"]
    degrees: PositiveFloat
    fill: float


class Flip(Strict):
    """Mirroring about one axis drawn at random, with `probability`."""

    name: Literal["flip"]
    probability: Annotated[float, Field(gt=0, le=1)]


class Training(Strict):
    """Everything that decides a trained model, apart from the data."""

    target: Literal["whole", "tumour"]
    sampler: VolumeSampler = VolumeSampler(name="volume")
    network: ResVNetCascade
    loss: DiceLoss
    optimizer: Adam
    schedule: StepSchedule
    epochs: PositiveInt
    batch_size: PositiveInt
    augmentation: tuple[Annotated[Rotation | Flip, Field(discriminator="name")], ...] = ()


class Stage(Strict):
    """One trained step of a method: what it sees, how it learns, how its mask is cleaned."""

    geometry: Geometry
    intensity: Intensity
    regions: Regions | None = None
    training: Training
    components: Components = Components()

    @model_validator(mode="after")
    def _possible(self) -> "Stage":
        size = list(self.geometry.size)
        if self.regions is not None:
            if self.geometry.body is not None:
                raise ValueError("geometry.body is for whole volumes, not with regions")
            if self.regions.count > 1 and not self.regions.repeat:
                raise ValueError(
                    "regions.repeat must be true where regions.count is more than 1: "
                    "cases with fewer regions would be stacks of another size"
                )
            size[0] *= self.regions.count
        divisor = self.training.network.divisor
        if any(length % divisor for length in size):
            raise ValueError(
                f"geometry.size gives the network {size} voxels, but "
                f"{self.training.network.name} needs multiples of {divisor}"
            )
        if self.training.network.normalization == "instance" and max(size) == divisor:
            raise ValueError(
                f"geometry.size gives the network {size} voxels, one at its deepest level, "
                "which instance normalisation cannot normalise: use a larger size"
            )
        return self


# -- What a method makes of its stages --------------------------------------------------------


class TumourWithinWhole(Strict):
    """Tumour = whole AND tumour mask, kidney = whole without tumour (Hao 2019, eq. 3 and 4)."""

    name: Literal["tumour_within_whole"]
    whole: Name
    tumour: Name


class Published(Strict):
    """A figure from the paper: mean Dice and, where given, its SD over folds."""

    kidney: tuple[float, float | None] | None = None
    tumour: tuple[float, float | None] | None = None
    composite: tuple[float, float | None] | None = None
    grid: Literal["native", "resampled"]
    where: str


class Method(Strict):
    """One row of the tables: a recipe from `workflow/methods`."""

    family: Name
    title: str
    stages: dict[Name, Stage]
    merge: TumourWithinWhole
    published: Published | None = None

    @model_validator(mode="after")
    def _stages_exist(self) -> "Method":
        earlier: list[str] = []
        for name, stage in self.stages.items():
            if name in RESERVED:
                raise ValueError(f"stages.{name}: results of another kind have this name")
            if stage.regions is not None and stage.regions.stage not in earlier:
                raise ValueError(
                    f"stages.{name}.regions.stage is {stage.regions.stage!r}, "
                    f"not an earlier stage ({', '.join(earlier) or 'none'})"
                )
            earlier.append(name)
        for role in ("whole", "tumour"):
            if getattr(self.merge, role) not in self.stages:
                raise ValueError(f"merge.{role} is not a stage ({', '.join(self.stages)})")
        if self.stages[self.merge.whole].regions is not None:
            raise ValueError("merge.whole must be a stage on whole volumes")
        return self


# -- What a user edits ------------------------------------------------------------------------


class Data(Strict):
    """Where the cases lie, and which of them are left out."""

    root: Path
    exclude: tuple[str, ...] = ()
    maximum_voxels: PositiveInt


class Folds(Strict):
    """How many folds there are, and the seed that deals the cases to them."""

    count: Annotated[int, Field(ge=2)]
    seed: int


class Compute(Strict):
    """Cores of a rule, and numerical settings that the models depend on."""

    prepare_threads: PositiveInt
    train_threads: PositiveInt
    predict_threads: PositiveInt
    bfloat16_on_cpu: bool
    seed: Annotated[int, Field(ge=0, lt=2**32)]  # with the epoch's number it must fit 64 bits


class Configuration(Strict):
    """config.yaml."""

    data: Data
    results: Path
    methods: Annotated[tuple[Name, ...], Field(min_length=1)]
    folds: Folds
    batch_size: PositiveInt
    compute: Compute
    overrides: dict[Name, dict[str, Any]] = {}


def check_configuration(values: dict[str, Any]) -> Configuration:
    """Check the merged configuration.

    Raises
    ------
    InputError
        With the key, what it holds and what was expected.
    """
    configuration = _validated(Configuration, values, "config.yaml")
    for name in set(configuration.methods) & set(RESERVED):
        raise InputError(f"config.yaml: methods: {name}: results of another kind have this name")
    unused = sorted(set(configuration.overrides) - set(configuration.methods))
    if unused:
        raise InputError(
            f"config.yaml: overrides.{unused[0]}: no such method in `methods` "
            f"({', '.join(configuration.methods)}): add it there or remove the override"
        )
    return configuration


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
            depth = stage.geometry.size[0] * (stage.regions.count if stage.regions else 1)
            if depth < 3 * stage.training.network.divisor:
                raise InputError(
                    f"config.yaml: compute.bfloat16_on_cpu: stage {stage_name} of {name} is "
                    f"{depth} slices deep, too few for bfloat16 without a GPU: set it to false"
                )


def load_method(name: str, overrides: dict[str, Any], folder: Path = METHODS) -> Method:
    """Read a recipe, with what it extends beneath it and `overrides` from config.yaml on top.

    Raises
    ------
    InputError
        With the file and key of the fault, and what was expected.
    """
    values = _extended(name, folder, ())
    source = f"workflow/methods/{name}.yaml"
    if overrides:
        # Checked first without the overrides, so that the fault is laid at the right door.
        _validated(Method, values, source)
        source = f"config.yaml: overrides.{name}"
    return _validated(Method, merged(values, overrides), source)


def _extended(name: str, folder: Path, seen: tuple[str, ...]) -> dict[str, Any]:
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        source = f"{folder / seen[-1]}.yaml: extends" if seen else "config.yaml: methods"
        raise InputError(f"{source}: no recipe {name!r}: choose from {known}")
    if name in seen:
        raise InputError(f"{path}: extends itself ({' -> '.join((*seen, name))}): break the circle")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML ({place}): mend it") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a mapping of keys is expected: see docs/adding-a-method.md")
    base = values.pop("extends", None)
    return values if base is None else merged(_extended(base, folder, (*seen, name)), values)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, key by key through nested mappings.

    A component of another name replaces the one beneath it: its keys are not the same.
    """
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            same = value.get("name", below.get("name")) == below.get("name")
            result[key] = merged(below, value) if same else value
        else:
            result[key] = value
    return result


def _validated(model: type[BaseModel], values: Any, source: str) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = []
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"])
            given = f" (is {fault['input']!r})" if fault["type"] != "missing" and key else ""
            message = fault["msg"].removeprefix("Value error, ")
            if fault["type"] == "extra_forbidden":
                message, given = "unknown key", ""
            faults.append(f"{key}: {message}"[:300] + given[:80] if key else message)
        raise InputError(f"{source}: {'; '.join(faults)}: mend it") from error


def region_crop(method: Method, stage: str) -> RegionCrop:
    """What crop_roi needs to know for a stage of `method` that looks at regions."""
    looking = method.stages[stage]
    return RegionCrop(
        geometry=looking.geometry,
        intensity=looking.intensity,
        regions=looking.regions,
        components=method.stages[looking.regions.stage].components,
    )


# Parts of a recipe that single steps use: what is left out of them does not re-run the step.


class Prediction(Strict):
    """What decides a stage's prediction beside its models."""

    network: ResVNetCascade


class MergedStage(Strict):
    """What the merging of a method needs to know of a stage."""

    target: Literal["whole", "tumour"]
    components: Components


class Merging(Strict):
    """What decides segmentations and scores beside the stages' predictions."""

    family: Name
    stages: dict[Name, MergedStage]
    merge: TumourWithinWhole


class Row(Strict):
    """What the tables say about a method."""

    family: Name
    title: str
    published: Published | None


def prediction(training: Training) -> Prediction:
    """The part of a stage's training section that prediction uses."""
    return Prediction(network=training.network)


def merging(method: Method) -> Merging:
    """The part of a recipe that merging and scoring use."""
    stages = {
        name: MergedStage(target=stage.training.target, components=stage.components)
        for name, stage in method.stages.items()
    }
    return Merging(family=method.family, stages=stages, merge=method.merge)


def row(method: Method) -> Row:
    """The part of a recipe that the tables use."""
    return Row(family=method.family, title=method.title, published=method.published)


def as_values(settings: BaseModel) -> dict[str, Any]:
    """Settings as plain values for JSON, without those that are at their default.

    A schema that grows by an optional key then changes neither the hashes nor the parameters of
    steps that do not use it, so nothing runs again.
    """
    return settings.model_dump(mode="json", exclude_defaults=True)


def settings_hash(*parts: BaseModel | None) -> str:
    """Eight hexadecimal digits that differ when any setting does."""
    values = [None if part is None else as_values(part) for part in parts]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
