"""Tables of what trainings take of GPUs before any has run, and what to ask a cluster for."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from renal.costs.cards import FACTOR, UNCERTAINTY
from renal.costs.trainings import Work, count_trainings, earlier_runs, factor_on, factors
from renal.recipe import models_of
from renal.recipe.strict_yaml import read_mapping
from renal.sources import ROOT

if TYPE_CHECKING:
    from renal.costs.cards import Card
    from renal.plan import Plan

Trainings = dict[tuple[str, str], Work]
PROFILE = Path("slurm/profile.yaml")
GIGA = 1e9
# What CUDA's context, cuDNN's workspace and the seams between blocks take beside what is counted.
RESERVED = 2e9
# Minutes that rules/learn.smk asks for, and those within which a training stops before the end.
RUNTIME, MINUTES_OF_STOPPING = 24 * 60, 3


def gpu_tables(pending: set[Path], plan: "Plan", cards: Sequence["Card"]) -> list[str]:
    """Lines on the trainings of pending files: of each stage, of each row, of time limits."""
    stages = [(method, stage) for method, r in plan.recipes.items() for stage in r.stages]
    jobs = {
        place: sum(plan.model(*place, fold) in pending for fold in plan.held_out)
        for place in stages
    }
    known = [place for place in stages if jobs[place] or earlier_runs(plan, *place)]
    works = count_trainings(plan, known)
    measured = factors(plan, works)
    planned = {place: work for place, work in works.items() if jobs[place]}
    if not planned:
        return []
    hours = {
        card.name: {
            place: jobs[place] * work.gpu_hours(card, factor_on(card, measured))
            for place, work in planned.items()
        }
        for card in cards
    }
    return [
        *_heading(cards, measured),
        *_of_stages(planned, jobs, hours, cards),
        *_of_rows(plan, hours, cards),
        *_of_time(planned, measured, cards),
    ]


def _heading(cards: Sequence["Card"], measured: dict[str, float]) -> list[str]:
    lines = [
        "",
        "GPU hours of trainings, expected from counted FLOPs and bytes, if none stops early",
        f"  what operators take at least by the data sheet, times {FACTOR}, good to a factor",
        f"  of {UNCERTAINTY}; GB are a step's at most, without cases that are kept there",
    ]
    for card in cards:
        if card.name in measured:
            lines.append(
                f"  {card.name}: times {measured[card.name]:.1f} instead, as earlier trainings in "
                "this results folder took"
            )
    return lines


def _row(title: str, first: str, second: str, values: Iterator[str]) -> str:
    return f"  {title:<36}{first:>6}{second:>7}" + "".join(f"{value:>11}" for value in values)


def _of_stages(
    planned: Trainings,
    jobs: dict[tuple[str, str], int],
    hours: dict[str, dict[tuple[str, str], float]],
    cards: Sequence["Card"],
) -> list[str]:
    lines = [_row("", "jobs", "GB", (card.name for card in cards))]
    short = False
    for place, work in planned.items():
        full = [work.step.peak + RESERVED > card.memory for card in cards]
        short |= any(full)
        values = (
            f"{hours[card.name][place]:.1f}{'*' if is_full else ' '}"
            for card, is_full in zip(cards, full, strict=True)
        )
        title, peak = f"train {' '.join(place)}", f"{work.step.peak / GIGA:.1f}"
        lines.append(_row(title, str(jobs[place]), peak, values))
    total = (f"{sum(hours[card.name].values()):.1f} " for card in cards)
    lines.append(_row("all", str(sum(jobs[place] for place in planned)), "", total))
    most = max(work.predicting for work in planned.values()) / GIGA
    lines.append(f"  predictions take {most:.1f} GB at most, and less of a card that has less")
    if short:
        lines.append("  * more than the card has: lower batch_size or width in overrides")
    return lines


def _of_rows(
    plan: "Plan", hours: dict[str, dict[tuple[str, str], float]], cards: Sequence["Card"]
) -> list[str]:
    """Hours of all that a row hangs on, where rows are several; what they share is in each."""
    if len(plan.methods) < 2:
        return []
    lines = ["", _row("of each row, with what rows share", "", "", (card.name for card in cards))]
    for method in plan.methods:
        places = {tuple(model.split("/")) for model in models_of(plan.recipes, method)}
        values = (
            f"{sum(h for place, h in hours[card.name].items() if place in places):.1f} "
            for card in cards
        )
        lines.append(_row(method, "", "", values))
    return lines


def _of_time(planned: Trainings, measured: dict[str, float], cards: Sequence["Card"]) -> list[str]:
    """What the longest training asks of a cluster that ends jobs after some time."""
    profile = read_mapping(PROFILE if PROFILE.exists() else ROOT / PROFILE)
    asked = profile["set-resources"]["train"].get("runtime", RUNTIME)
    limit, retries = min(asked, profile["resources"]["runtime"]), profile["retries"]
    lines = [
        "",
        f"Longest training, if it takes {UNCERTAINTY} times as long as expected, on a cluster",
    ]
    for card in cards:
        factor = UNCERTAINTY * factor_on(card, measured)
        place, work = max(
            planned.items(), key=lambda item: item[1].seconds(card) * factor_on(card, measured)
        )
        minutes = factor * work.seconds(card) / 60
        needed = jobs_for(minutes, limit) - 1
        shortest = math.ceil(minutes / (retries + 1)) + MINUTES_OF_STOPPING
        advice = "are enough" if needed <= retries else f"are too few: {needed} are needed"
        lines.append(
            f"  {card.name}: {' '.join(place)}, {minutes / 60:.0f} h: jobs of {limit} minutes and "
            f"retries: {retries} {advice}, or runtime: {shortest}"
        )
    return lines


def jobs_for(minutes: float, limit: float) -> int:
    """How many jobs of so many minutes a training goes on over."""
    return max(1, math.ceil(minutes / (limit - MINUTES_OF_STOPPING)))
