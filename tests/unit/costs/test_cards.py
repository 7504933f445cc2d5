"""GPUs by the names that CUDA gives them, and the least that operators take there."""

from types import SimpleNamespace

import pytest

from renal.costs.__main__ import chosen_cards, main
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


def test_this_machine_s_card_is_shown_with_its_own_memory(monkeypatch):
    """An A100 has 40 or 80 GB; one that is asked for by its name has what the table says."""
    told = {"total_memory": 42_400_000_000}
    monkeypatch.setattr("renal.costs.__main__.visible_gpus", lambda: ["0"])
    monkeypatch.setattr("renal.costs.__main__.refuse_unusable", lambda: None)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA A100-PCIE-40GB")
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda: SimpleNamespace(**told))
    (card,) = chosen_cards([])
    assert (card.name, card.memory) == ("A100", 42.4e9)
    assert chosen_cards(["A100"])[0].memory == 80e9
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA L40S")
    assert chosen_cards([]) == list(CARDS)


def test_a_gpu_that_torch_cannot_use_ends_costs_in_one_line(monkeypatch, capsys):
    """Of this machine's torch, which is a build for the CPU."""
    monkeypatch.setattr("renal.costs.__main__.visible_gpus", lambda: ["0"])
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr("sys.argv", ["costs"])
    assert main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: torch") and "install another build" in line
