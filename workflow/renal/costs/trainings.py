"""What trainings take of GPUs: counted, and by what earlier runs exceeded such an account."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

from renal.costs.cards import FACTOR, Card, card_of
from renal.costs.sizes import examples_of, sampled_headers
from renal.costs.step import Step, count_prediction, count_step
from renal.image.boxes import three
from renal.labels import KITS19, Labels
from renal.learn.settings import Prediction, Training
from renal.recipe import prediction

if TYPE_CHECKING:
    from renal.image.volume import Header
    from renal.plan import Plan
    from renal.recipe import Stage


@dataclass(frozen=True)
class Work:
    """A training of a stage, as long as its recipe lets it.

    Attributes
    ----------
    step : Step
        On one of its GPUs.
    steps, watched : float
        Training steps of an epoch, and batches that are watched without learning from them.
    epochs : int
        At most.
    gpus : int
        How many share a batch.
    predicting : int
        Bytes of a GPU that its models predict with.
    """

    step: Step
    steps: float
    watched: float
    epochs: int
    gpus: int
    predicting: int

    def seconds(self, card: Card, epochs: int | None = None) -> float:
        """Seconds of some epochs, by default all, if a card did all it can."""
        forward = card.seconds(self.step.forward)
        both = forward + card.seconds(self.step.backward)
        each = self.steps * both + self.watched * forward
        return each * (self.epochs if epochs is None else epochs)

    def gpu_hours(self, card: Card, factor: float) -> float:
        """Hours that are expected, of all its GPUs together."""
        return factor * self.gpus * self.seconds(card) / 3600


def count_trainings(plan: "Plan", wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Work]:
    """What each training of some stages takes, by method and stage; not those of nnU-Net."""
    given = sampled_headers(plan), learned_from(plan), plan.labels
    return {
        (method, name): work_of(plan.recipes[method].stages[name], *given)
        for method, name in wanted
        if name in plan.recipes[method].stages
    }


def learned_from(plan: "Plan") -> float:
    """Labelled cases that all folds but one have."""
    labelled = sum(len(plan.batches[batch]) for batch in plan.labelled)
    return labelled * (1 - 1 / len(plan.held_out))


def work_of(stage: "Stage", headers: "list[Header]", cases: float, labels: Labels = KITS19) -> Work:
    """What a training of a stage on so many cases takes, of which headers are a sample."""
    training = stage.training
    watched = max(1, round(training.validation.share * cases)) if training.validation else 0
    batches = examples_of(stage, headers) / training.batch_size
    predicted, seen = prediction(stage), stage.seen[1]
    context = predicted.channels_in if training.network.flat else seen[0]
    return Work(
        step=_counted(_relevant(training), three(size or 0 for size in stage.seen[0]), labels),
        steps=math.ceil((cases - watched) * batches),
        watched=math.ceil(watched * batches),
        epochs=training.epochs,
        gpus=training.gpus,
        predicting=_predicting(predicted.model_dump_json(), three((context, *seen[1:])), labels),
    )


def _relevant(training: Training) -> str:
    """What decides a step, as JSON: many rows differ in their preparation alone."""
    unimportant = {"drawing", "schedule", "stopping", "validation", "augmentation", "epochs"}
    values = training.model_dump(mode="json", exclude=unimportant)
    return json.dumps(values | {"epochs": 1, "schedule": {"name": "constant"}}, sort_keys=True)


@cache
def _counted(training: str, size: tuple[int, int, int], labels: Labels) -> Step:
    return count_step(Training.model_validate_json(training), size, labels)


@cache
def _predicting(settings: str, size: tuple[int, int, int], labels: Labels) -> int:
    return count_prediction(Prediction.model_validate_json(settings), size, labels)


def earlier_runs(plan: "Plan", method: str, stage: str) -> list[dict[str, Any]]:
    """What is noted of a stage's finished trainings."""
    paths = plan.results.glob(f"{method}/{stage}/fold*/run.json")
    return [json.loads(path.read_text()) for path in paths]


def factors(plan: "Plan", works: dict[tuple[str, str], Work]) -> dict[str, float]:
    """Card to how much longer than the account earlier trainings took on it.

    The median over those of the recipes as they are now, of cases as there are now.
    """
    found: dict[str, list[float]] = {}
    for card, ratio in _ratios(plan, works):
        found.setdefault(card.name, []).append(ratio)
    return {name: median(ratios) for name, ratios in found.items()}


def _ratios(plan: "Plan", works: dict[tuple[str, str], Work]) -> Iterator[tuple[Card, float]]:
    for (method, stage), work in works.items():
        now = plan.training(method, stage).model_dump(mode="json")
        for run in earlier_runs(plan, method, stage):
            card = card_of(run["device"])
            if card is not None and run["settings"] == now:
                yield card, run["seconds"] / work.seconds(card, run["epochs"])


def factor_on(card: Card, measured: dict[str, float]) -> float:
    """By what the account is multiplied: as measured on a card, or as nnU-Net's epochs have it."""
    return measured.get(card.name, FACTOR)
