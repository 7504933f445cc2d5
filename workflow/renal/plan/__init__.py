"""What is where: the cases, paths and resources of a run, known before any file is read.

The rules ask a `Plan` for their inputs and parameters. Paths are made from settings, so that rows
that share a step share its files.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

from renal.data.cases import stand_in_cases
from renal.data.selection import select_cases
from renal.evaluate.settings import Merging
from renal.handover.seals import SEAL
from renal.learn.nnunet import memory
from renal.learn.nnunet.layout import PLANS, STAGE, planned_folder
from renal.learn.nnunet.settings import Planning
from renal.plan.stages import PlannedStages
from renal.recipe import (
    check_configuration,
    check_precision,
    check_sizes,
    external_files,
    load_methods,
    merging,
    row,
)
from renal.report.settings import COMPARED, DRAWN
from renal.settings import as_values, settings_hash

RANKS = ("best", "median", "worst")


def read_plan(values: dict[str, Any], *, stand_in: bool = False) -> "Plan":
    """The plan of a configuration, with what lies in its data folder.

    Parameters
    ----------
    values : dict
        The merged configuration.
    stand_in : bool
        Plan cases that are not there where the data folder is missing: for looking at the rules
        on a machine without data.

    Raises
    ------
    InputError
        With the fault of configuration, recipes or data folder.
    """
    configuration = check_configuration(values)
    recipes = load_methods(configuration)
    check_sizes(configuration, recipes)
    check_precision(configuration, recipes)
    data = configuration.data
    if stand_in and not data.root.is_dir():
        return Plan(configuration, recipes, stand_in_cases(data.root, configuration.folds.count))
    chosen = data.model_dump(include={"exclude", "layout", "unlabelled", "test"})
    return Plan(configuration, recipes, select_cases(data.root, **chosen, labels=data.scheme))


class Plan(PlannedStages):
    """Cases, paths, settings and resources of a run: what is made of its stages for each row."""

    # -- rows of other rows, and of other programs -------------------------------------------------

    def rows_with(self, *sections: str) -> str:
        """A pattern of the rows whose recipes have one of some sections."""
        rows = [name for name, r in self.recipes.items() if r.sections & {*sections}]
        return "|".join(rows) or "(?!)"

    def averaged(self, method: str, group: str) -> dict[str, list[Path]]:
        """Folders of the predictions that a row averages, by row.stage."""
        return {
            f"{row}.{stage}": paths
            for row in self.recipes[method].rows
            for stage, paths in self.merged_predictions(row, group).items()
        }

    def external_inputs(self, method: str, group: str) -> list[Path]:
        """What another program left; the step tells which cases have none."""
        if self.recipes[method].nnunet:
            return [self.predicted(method, STAGE, group)]
        cases = (case for batch in self.groups[group] for case in self.batches[batch])
        return [path for case in cases for path in external_files(self.recipes, method, case)]

    @cached_property
    def nnunet_plannings(self) -> dict[str, Planning]:
        """Hash to the settings by which nnU-Net plans and preprocesses the cases."""
        rows = (recipe.nnunet for recipe in self.recipes.values() if recipe.nnunet)
        return {settings_hash(nnunet.planning): nnunet.planning for nnunet in rows}

    def _planning(self, method: str) -> Planning:
        nnunet = self.recipes[method].nnunet
        assert nnunet is not None
        return nnunet.planning

    def nnunet_cases(self, method: str) -> Path:
        """The cases as nnU-Net's plans, which lie beside them, have them prepared for a row."""
        planning = self._planning(method)
        return planned_folder(self.results, settings_hash(planning)) / planning.configuration

    def nnunet_plans(self, method: str) -> Path:
        """The file of plans that nnU-Net made for a row."""
        return self.nnunet_cases(method).with_name(f"{PLANS}.json")

    def nnunet_training_memory(self, method: str, threads: int, attempt: int) -> int:
        """MB of the host for a training of a row by nnU-Net."""
        return memory.training_memory(self._planning(method), self.labels, threads, attempt)

    def nnunet_prediction_memory(self, method: str, threads: int, attempt: int) -> int:
        """MB of the host for nnU-Net to predict `threads` cases of a row at once."""
        return memory.prediction_memory(self._planning(method), self.labels, threads, attempt)

    # -- segmentations and scores ------------------------------------------------------------------

    def merging(self, method: str) -> Merging:
        """What decides segmentations and scores beside predictions."""
        return merging(self.recipes, method, self.labels)

    def merged_predictions(self, method: str, group: str) -> dict[str, list[Path]]:
        """Stages that are merged to the folders of their predictions."""
        stages = self.merging(method).stages
        return {stage: self.predictions_of(method, stage, group) for stage in stages}

    def evaluated_truths(self, method: str, group: str) -> dict[str, list[Path]]:
        """Stages that are merged, and that of the method's own grid, to folders with the truth."""
        settings = self.merging(method)
        stages = dict.fromkeys([*settings.stages, *([settings.grid] if settings.grid else [])])
        return {stage: self.true_inputs(method, stage, self.groups[group]) for stage in stages}

    def evaluated_predictions(self, method: str, group: str) -> dict[str, list[Path]]:
        """What is merged, where all of it lies on the method's own grid and is scored there."""
        on_one_grid = self.merging(method).on_one_grid
        return self.merged_predictions(method, group) if on_one_grid else {}

    def located_predictions(self, method: str, group: str) -> list[Path]:
        """Predictions of the stage whose regions decide what can be found, if there is one."""
        stage = self.merging(method).located
        return self.predictions_of(method, stage, group)[:1] if stage else []

    @property
    def tables(self) -> list[Path]:
        """The tables of all methods."""
        return [self.results / "tables" / name for name in ("cv.csv", "cv.md", "cv.tex", "cv.html")]

    @property
    def test_tables(self) -> list[Path]:
        """The tables of the test set."""
        return [self.results / "tables" / name for name in ("test.csv", "test.md", "test.html")]

    @property
    def left_over(self) -> list[Path]:
        """What may be there of unlabelled cases, tests or several rows, while there are none."""
        found = [] if self.tested else [*self.test_tables, *map(self.test_scores_of, self.methods)]
        if not self.compared:
            found += (self.results / "tables").glob("compare*")
        if not self.unlabelled:
            found += [self.results / method / "submission" for method in self.methods]
        return found

    @property
    def compared(self) -> list[Path]:
        """The tables that compare rows; none where there is one row."""
        return [self.results / "tables" / name for name in COMPARED if len(self.methods) > 1]

    @property
    def drawn(self) -> dict[str, Path]:
        """The pictures that compare rows, by what they show."""
        names = [name for name in DRAWN if len(self.methods) > 1]
        return {name: self.results / f"tables/compare_{name}.png" for name in names}

    @property
    def gallery(self) -> list[Path]:
        """The picture of the worst cases as all rows see them; none where there is one row."""
        return [self.results / "tables/compare_worst.png"] if self.compared else []

    @property
    def page(self) -> list[Path]:
        """The page to look at; none where no case has a label."""
        return [self.results / "report/index.html"] if self.labelled else []

    @property
    def page_pictures(self) -> list[Path]:
        """The pictures on the page, which has slices to scroll through in place of overlays."""
        of_rows = (path for method in self.methods for path in self.pictures_of(method))
        shown = (path for path in of_rows if path.stem not in RANKS)
        return [*self.drawn.values(), *self.gallery, *shown]

    @property
    def annotators(self) -> list[Path]:
        """Scores of annotators among themselves; none without outlines of several."""
        return [self.results / "annotators.csv"] if self.outlines else []

    @property
    def rows(self) -> dict[str, Any]:
        """What the tables need to know of each method."""
        return self._rows(self.labelled)

    @property
    def tested_rows(self) -> dict[str, Any]:
        """What the tables of the test set need to know of each method."""
        return self._rows(self.tested)

    def _rows(self, batches: list[str]) -> dict[str, Any]:
        cases = [name for batch in batches for name in self.batches[batch]]
        return {m: as_values(row(self.recipes, m, cases)) for m in self.methods}

    def scores_of(self, method: str) -> Path:
        """All scores of a method."""
        return self.results / method / "scores.csv"

    def test_scores_of(self, method: str) -> Path:
        """A method's scores of the cases that are only tested on."""
        return self.results / method / "test_scores.csv"

    def segmentations_of(self, method: str) -> list[Path]:
        """The seal of a method's segmentations, and the submission where cases have no label."""
        submission = [self.results / method / "submission"] if self.unlabelled else []
        return [self.results / method / "segmentation" / SEAL, *submission]

    @property
    def collected(self) -> list[Path]:
        """The seals of the segmentations of all methods."""
        return [self.segmentations_of(method)[0] for method in self.methods]

    def pictures_of(self, method: str) -> list[Path]:
        """Pictures of a method's results."""
        folder = self.results / method / "pictures"
        curves = [folder / f"curves_{trained}.png" for trained in self.recipes[method].trained]
        located = [folder / "located.png"] if self.merging(method).located else []
        return [folder / f"{rank}.png" for rank in RANKS] + curves + located

    def results_of(self, method: str) -> list[Path]:
        """All that is asked for of a method."""
        scores = [self.scores_of(method), *([self.test_scores_of(method)] if self.tested else [])]
        return [*scores, *self.segmentations_of(method), *self.pictures_of(method)]

    @property
    def results_of_all(self) -> list[Path]:
        """All that is asked for of the methods together."""
        tables = [*self.tables, *(self.test_tables if self.tested else []), *self.compared]
        return [*self.annotators, *tables, *self.drawn.values(), *self.gallery, *self.page]

    def methods_of(self, scope: str) -> list[str]:
        """All methods, or the one that is named."""
        return list(self.methods) if scope == "all" else [scope]


def named(paths: dict[str, list[Path]]) -> list[str]:
    """Paths by their names as a step takes them on its command line."""
    return [f"{name}={path}" for name, several in paths.items() for path in several]
