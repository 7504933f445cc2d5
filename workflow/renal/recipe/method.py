"""A method: the stages that it trains, those that it takes from others, and how they are merged."""

from typing import Annotated

from pydantic import Field, model_validator

from renal.evaluate.merges.settings import Merge
from renal.evaluate.settings import Average, External, Vote
from renal.image.settings import Components, Geometry, Regions
from renal.learn.inferers.settings import Inference, WholeInference
from renal.learn.nnunet.layout import STAGE
from renal.learn.nnunet.settings import NnUNet
from renal.learn.settings import Training
from renal.prepare.settings import Intensity
from renal.report.settings import Published
from renal.settings import Extent, Name, Strict

# Folders that the results folder and a method's folder hold beside those of methods and stages.
RESERVED = (
    *("all", "benchmarks", "body", "cases", "data", "folds", "logs", "normalized", "planned"),
    *("report", "resampled", "segmented", "tables", "true_roi"),
    *("corrected", "merged", "pictures", "scores", "segmentation", "submission"),
)


class Stage(Strict):
    """One trained step of a method: what it sees, how it learns, predicts, and is cleaned."""

    geometry: Geometry
    intensity: Intensity
    regions: Regions | None = None
    training: Training
    inference: Inference = WholeInference(name="whole")
    components: Components = Components()

    @property
    def seen(self) -> list[Extent]:
        """Voxels (z, y, x) that the network sees when it learns and when it predicts."""
        region = self.geometry.sizes
        count = self.regions.count if self.regions else 1
        stacked = (region[0] and region[0] * count, *region[1:])
        return [part.sees(stacked, region) for part in (self.training.sampler, self.inference)]

    @model_validator(mode="after")
    def _possible(self) -> "Stage":
        regions, training = self.regions, self.training
        if regions is not None:
            if self.geometry.body is not None or self.geometry.extent_mm is not None:
                raise ValueError("geometry: body and extent_mm are for whole volumes, not regions")
            stacked, moving = training.sampler.stacks, training.sampler.moving
            if any(regions.jitter_mm) and not any(moving):
                raise ValueError(
                    "regions.jitter_mm is for sampler slices, or patches with per_case"
                )
            if any(mm for mm, can in zip(regions.jitter_mm, moving, strict=True) if not can):
                raise ValueError("regions.jitter_mm of slices must be [z, 0, 0]: they are not cut")
            if regions.count > 1 and stacked and not regions.repeat:
                raise ValueError(
                    "regions.repeat must be true where regions.count is more than 1: "
                    "cases with fewer regions would be stacks of another size"
                )
            if stacked != self.inference.stacks:
                raise ValueError("sampler volume and inference whole go together with regions")
        if self.inference.flat != training.network.flat:
            raise ValueError(f"inference {self.inference.name} is not for {training.network.name}")
        if self.components.runs is not None and not training.network.classifies:
            raise ValueError("components.runs is for a stage whose target is slices")
        for size in self.seen:
            self._check_size(size)
        return self

    def _check_size(self, size: Extent) -> None:
        network = self.training.network
        parts = list(zip("zyx", size, network.divisor, strict=True))
        for axis, length, divisor in parts:
            if length is None and not (axis == "z" and network.flat):
                raise ValueError(f"geometry.size must say how long axis {axis} is")
            if length is not None and length % divisor:
                raise ValueError(
                    f"geometry.size, patch or window give the network {list(size)} voxels, but "
                    f"{network.name} needs multiples of {divisor} along {axis}"
                )
        deep = list(zip(size, network.deepest, strict=True))[1 if network.flat else 0 :]
        if network.normalizes_voxels and all(length and length <= one for length, one in deep):
            raise ValueError(
                f"geometry.size gives the network {list(size)} voxels, one at its deepest level, "
                "which batch and instance normalisation cannot normalise: use a larger size"
            )


class Member(Strict):
    """A stage taken from other recipes, by its own name there; several are averaged voxel by voxel.

    `components` replaces theirs.
    """

    of: Annotated[tuple[Name, ...], Field(min_length=1)]
    components: Components | None = None


class Method(Strict):
    """One row of the tables: a recipe from `workflow/methods`.

    Its segmentations come from one of five places: `merge`, from the maps of stages; `average`,
    from those of other rows; `vote`, from other rows' segmentations; `nnunet`, from nnU-Net, which
    is trained; `external`, from files.
    """

    family: Name
    title: str
    members: dict[Name, Member] = Field(default_factory=dict)
    stages: dict[Name, Stage] = Field(default_factory=dict)
    merge: Merge | None = None
    average: Average | None = None
    vote: Vote | None = None
    nnunet: NnUNet | None = None
    external: External | None = None
    published: Published | None = None

    @property
    def sections(self) -> set[str]:
        """The sections that it has."""
        return {name for name, section in self if section}

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows that it is made of."""
        combined = self.average or self.vote
        return combined.of if combined else ()

    @property
    def trained(self) -> tuple[str, ...]:
        """What it trains, as its folder and its pictures call it."""
        return (STAGE,) if self.nnunet else tuple(self.stages)

    @model_validator(mode="after")
    def _one_origin(self) -> "Method":
        origins = ("merge", "average", "vote", "nnunet", "external")
        given = [name for name in origins if name in self.sections]
        if len(given) != 1:
            told = " and ".join(given) or "none"
            raise ValueError(f"one of {', '.join(origins)} makes the segmentations (has {told})")
        if self.merge is None and (self.stages or self.members):
            raise ValueError(f"{given[0]} goes without stages and members: leave them out")
        return self

    @model_validator(mode="after")
    def _stages_exist(self) -> "Method":
        earlier: list[str] = list(self.members)
        for name, stage in self.stages.items():
            if name in RESERVED:
                raise ValueError(f"stages.{name}: results of another kind have this name")
            if name in self.members:
                raise ValueError(f"stages.{name}: a member has this name: set one of them to null")
            if stage.regions is not None and stage.regions.stage not in earlier:
                raise ValueError(
                    f"stages.{name}.regions.stage is {stage.regions.stage!r}, "
                    f"not an earlier stage ({', '.join(earlier) or 'none'})"
                )
            earlier.append(name)
        for role, place in self.merge.maps.items() if self.merge else ():
            if place.partition(".")[0] not in earlier:
                raise ValueError(f"merge.maps.{role} is not a stage ({', '.join(earlier)})")
        return self
