"""GPUs by the names that CUDA gives them, and the least that operators take there."""

import pytest

from renal.costs.__main__ import chosen_cards
from renal.costs.cards import CARDS, Card, card_of
from renal.costs.step import Operator

NAMES = {
    "NVIDIA H100 80GB HBM3": "H100",
    "NVIDIA A100-SXM4-80GB": "A100",
    "Tesla V100-SXM2-32GB": "V100",
    "NVIDIA GeForce RTX 4090": "RTX 4090",
    "Tesla T4": "T4",
}


@pytest.mark.parametrize(("device", "name"), NAMES.items())
def test_a_card_is_known_by_its_name(device, name):
    assert card_of(device).name == name


@pytest.mark.parametrize(
    "device",
    ["x86_64", "NVIDIA T400", "NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090 Laptop GPU"],
)
def test_others_are_not_taken_for_one(device):
    assert card_of(device) is None


def test_each_operator_waits_for_what_takes_it_longer():
    card = Card("test", flops=100, bandwidth=10, memory=1)
    assert card.seconds([Operator(200, 10), Operator(100, 30)]) == 2 + 3


def test_the_named_cards_are_shown_or_all(monkeypatch):
    monkeypatch.setattr("renal.costs.__main__.visible_gpus", lambda: [])
    assert [card.name for card in chosen_cards(["T4", "H100"])] == ["H100", "T4"]
    assert chosen_cards([]) == list(CARDS)
