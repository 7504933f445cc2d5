"""A run's stages: what each prepares, trains and predicts, where that lies, and what it needs."""

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from renal.data.cases import Case, safe_name
from renal.data.cohort import Cohort
from renal.data.selection import read_groups
from renal.handover.models import model_file
from renal.image.settings import Body, Geometry
from renal.learn.networks.base_settings import Pretrained
from renal.learn.settings import Training
from renal.prepare.settings import Intensity, RegionCrop
from renal.recipe import (
    Configuration,
    Method,
    Stage,
    owners_of,
    prediction,
    region_crop,
    sized,
    true_folder,
    true_region_crop,
)
from renal.settings import as_json, settings_hash
from renal.sources import MODULES, code_hash, prediction_components, training_components

# Of each process that computes on a GPU: torch with CUDA's and cuDNN's libraries takes 3 to 4 GB.
GPU_HOST_MB = 6000


class PlannedStages(Cohort):
    """Paths, settings and resources of the stages of all recipes.

    Parameters
    ----------
    configuration : Configuration
        config.yaml.
    recipes : dict
        All recipes: those of the rows, and those that rows take stages from.
    cases : list of Case
        What lies in the data folder.
    """

    def __init__(
        self, configuration: Configuration, recipes: dict[str, Method], cases: list[Case]
    ) -> None:
        self.configuration = configuration
        self.recipes = recipes
        self.methods = configuration.methods
        self.results = configuration.results
        self.labels = configuration.data.scheme
        data, folds = configuration.data, configuration.folds
        # By the names of folders, too, which may be no names of cases.
        excluded = {*data.exclude, *map(safe_name, data.exclude)}
        super().__init__(
            cases,
            data.root,
            self.results / "folds.csv",
            folds=folds.count,
            seed=folds.seed,
            batch_size=configuration.batch_size,
            groups=read_groups(data.groups, cases, excluded),
            excluded=excluded,
        )

    # -- preparation ---------------------------------------------------------------------------

    @cached_property
    def grids(self) -> dict[str, Geometry]:
        """Name of a grid over whole volumes to its settings."""
        return {sized(stage.geometry): stage.geometry for stage in self._whole_stages()}

    @cached_property
    def images(self) -> dict[tuple[str, str], Intensity]:
        """Name of a grid and hash of intensities to the settings of the latter."""
        return {
            (sized(stage.geometry), settings_hash(stage.intensity)): stage.intensity
            for stage in self._whole_stages()
        }

    @cached_property
    def bodies(self) -> dict[str, Body]:
        """Hash to the settings by which bodies are found."""
        found = (stage.geometry.body for stage in self._whole_stages())
        return {settings_hash(body): body for body in found if body is not None}

    @cached_property
    def regions(self) -> dict[str, RegionCrop]:
        """Name of regions of interest to the settings by which they are cut out."""
        crops = (
            crop(self.recipes, method, name)
            for method, recipe in self.recipes.items()
            for name, stage in recipe.stages.items()
            if stage.regions is not None
            for crop in (region_crop, true_region_crop)
        )
        return {sized(crop.geometry, crop): crop for crop in crops}

    def _stages(self) -> Iterator[Stage]:
        for recipe in self.recipes.values():
            yield from recipe.stages.values()

    def _whole_stages(self) -> Iterator[Stage]:
        return (stage for stage in self._stages() if stage.regions is None)

    def checked(self, batches: Iterable[str]) -> list[Path]:
        """Records of checked cases."""
        return [self.results / "cases" / f"{batch}.json" for batch in batches]

    def body_boxes(self, grid: str, batch: str) -> list[Path]:
        """Boxes of the bodies that a grid lies over; none for grids over whole volumes."""
        body = self.grids[grid].body
        if body is None:
            return []
        return [self.results / "body" / settings_hash(body) / f"{batch}.json"]

    def true_inputs(self, method: str, stage: str, batches: Iterable[str]) -> list[Path]:
        """Prepared folders of whole volumes, or of true regions, that a stage learns from."""
        owner = self.owners_of(method, stage)[0]
        folder = self.results / true_folder(self.recipes, owner, stage)
        return [folder / batch for batch in batches]

    def seen_inputs(self, method: str, stage: str, group: str) -> list[Path]:
        """Prepared folders that a stage predicts on: regions come from the earlier stage."""
        regions = self.recipes[method].stages[stage].regions
        if regions is None:
            return self.true_inputs(method, stage, self.groups[group])
        crop = region_crop(self.recipes, method, stage)
        (owner,) = self.owners_of(method, regions.stage)
        return [self.results / owner / regions.stage / "roi" / sized(crop.geometry, crop) / group]

    # -- training and prediction -----------------------------------------------------------------

    def owners_of(self, method: str, stage: str) -> tuple[str, ...]:
        """The methods whose models make a stage of a method."""
        return owners_of(self.recipes, method, stage)

    def training(self, method: str, stage: str) -> Training:
        """How a stage is trained."""
        return self.recipes[method].stages[stage].training

    @cached_property
    def pretrained(self) -> dict[str, Pretrained]:
        """Weights that networks begin with, by their files."""
        found = (stage.training.network.weights for stage in self._stages())
        return {str(weights.file): weights for weights in found if weights is not None}

    def weights_of(self, method: str, stage: str) -> list[Path]:
        """The file of weights that a stage's network begins with; none for most."""
        weights = self.training(method, stage).network.weights
        return [] if weights is None else [weights.file]

    def model(self, method: str, stage: str, fold: str) -> Path:
        """What a training writes."""
        return model_file(self.results, method, stage, fold)

    def models_for(self, method: str, stage: str, group: str) -> list[Path]:
        """The model that has not seen a fold's cases; for all other cases those of all folds."""
        folds = [group] if group in self.held_out else self.held_out
        return [self.model(method, stage, fold) for fold in folds]

    def predicted(self, method: str, stage: str, group: str) -> Path:
        """The folder that prediction by a method's own models writes."""
        return self.results / method / stage / "prediction" / group

    def predictions_of(self, method: str, stage: str, group: str) -> list[Path]:
        """Folders whose mean is a stage's prediction: its own, or those of other recipes."""
        return [self.predicted(owner, stage, group) for owner in self.owners_of(method, stage)]

    def prediction_settings(self, method: str, stage: str) -> str:
        """What decides a prediction: another learning rate reaches it through the model."""
        return as_json(prediction(self.recipes[method].stages[stage]))

    # -- what a step depends on --------------------------------------------------------------------

    def modules_of(self, rule: str, method: str = "", stage: str = "") -> tuple[str, ...]:
        """The modules that a rule's step runs, those of a recipe's components included."""
        components: list[str] = []
        if rule == "train":
            components = training_components(self.training(method, stage))
        elif rule == "predict":
            components = prediction_components(self.recipes[method].stages[stage])
        elif rule in ("merge", "evaluate") and (merge := self.recipes[method].merge):
            components = [f"evaluate.merges.{merge.name}"]
        return (*MODULES[rule], *components)

    def code(self, rule: str, method: str = "", stage: str = "") -> str:
        """Hash of the code that a rule's step runs."""
        return code_hash(*self.modules_of(rule, method, stage))

    # -- what a step leaves beside its output ------------------------------------------------------

    def log_of(self, rule: str, *wildcards: str) -> Path:
        """A rule's log; the wildcards in the order of the output's path."""
        return self.results / "logs" / rule / f"{'-'.join(wildcards) or rule}.log"

    def benchmark_of(self, rule: str, *wildcards: str) -> Path:
        """The time and memory that a rule's job took."""
        return self.results / "benchmarks" / rule / f"{'-'.join(wildcards) or rule}.tsv"

    # -- resources, in MB --------------------------------------------------------------------------

    def volume_memory(self, batches: Iterable[str], threads: int, attempt: int) -> int:
        """MB for `threads` volumes at once: measured at most 7 times the compressed image each."""
        largest = max(self._image_mb[name] for batch in batches for name in self.batches[batch])
        return int((300 + threads * (200 + 7 * largest)) * attempt)

    @cached_property
    def _image_mb(self) -> dict[str, float]:
        """Size of each case's compressed image; 0 for files that are missing."""
        files = {name: case.image for name, case in self.cases.items()}
        return {n: os.path.getsize(f) / 2**20 if os.path.exists(f) else 0 for n, f in files.items()}

    def training_memory(self, method: str, stage: str, attempt: int, *, on_gpu: bool) -> int:
        """MB of the host for a training, on a CPU with its activations."""
        training = self.training(method, stage)
        size, _ = self.recipes[method].stages[stage].seen
        on_cpu = 1500 + training.network.activations(size, training.batch_size)
        return int((GPU_HOST_MB * training.gpus if on_gpu else on_cpu) * attempt)

    def prediction_memory(
        self, method: str, stage: str, group: str, attempt: int, *, on_gpu: bool
    ) -> int:
        """MB of the host for a patch or some slices, and for the arrays of the volume around."""
        settings = self.recipes[method].stages[stage]
        _, size = settings.seen
        # Without gradients less than half is needed, measured in 32 bits.
        activations = settings.training.network.activations(size, settings.inference.at_once) / 2
        needed = GPU_HOST_MB if on_gpu else 1500 + activations
        return int((needed + self.volume_memory(self.groups[group], 1, 1)) * attempt)
