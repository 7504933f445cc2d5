"""The command line of costs: ``python -m renal costs``."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from renal.cluster.gpus import refuse_unusable, visible_gpus
from renal.costs.cards import CARDS, Card, card_of
from renal.costs.report import asked, report
from renal.errors import InputError
from renal.plan import read_plan
from renal.recipe import read_values


def chosen_cards(names: list[str]) -> list[Card]:
    """The cards of some names, or else that of this machine with its own memory, or else all.

    Raises
    ------
    InputError
        If this machine has a GPU that torch cannot use.
    """
    if visible_gpus():
        import torch

        refuse_unusable()
        here = card_of(torch.cuda.get_device_name())
        if here and not names:  # which is sold with half of the memory, too
            return [replace(here, memory=torch.cuda.get_device_properties().total_memory)]
    return [card for card in CARDS if not names or card.name in names]


def main() -> int:
    """Print what a run would cost; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m renal costs", description="What a run will cost; runs nothing."
    )
    parser.add_argument("targets", nargs="*", help="what to make; by default all")
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], help="as for Snakemake")
    parser.add_argument("--config", nargs="+", default=[], help="as for Snakemake")
    parser.add_argument(
        "--gpu",
        nargs="+",
        default=[],
        choices=[card.name for card in CARDS],
        help="of which kind; default: this machine's, or all",
    )
    a = parser.parse_args()
    given = ["--configfile", *map(str, a.configfile)] if a.configfile else []
    given += ["--config", *a.config] if a.config else []
    try:
        cards = chosen_cards(a.gpu)
        plan = read_plan(read_values(a.configfile, a.config))
        print(report(*asked([*a.targets, *given]), plan, cards))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
