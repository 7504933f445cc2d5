"""Tests of drawings: shares, weights by hand, and states that go on as they were."""

from collections import Counter

import pytest
import torch

from renal.learn.datasets import Case
from renal.learn.drawings import drawing_of
from renal.learn.drawings.settings import BalancedDrawing, HardDrawing, UniformDrawing

UNIFORM = UniformDrawing(name="uniform")


class Listed:
    """Examples of which nothing counts but case, place and whether they hold anything."""

    def __init__(
        self, entries: list[tuple[int, tuple[int, ...]]], positive: set[int] = frozenset()
    ):
        self.entries = entries
        count = max(number for number, _ in entries) + 1
        self.cases = [Case(f"case_{number}", [], [], []) for number in range(count)]
        self.positive = positive

    def __len__(self) -> int:
        return len(self.entries)

    def has_foreground(self, index: int) -> bool:
        return index in self.positive


def examples(count: int, positive: int = 0) -> Listed:
    return Listed([(0, (index,)) for index in range(count)], set(range(positive)))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# -- uniform --------------------------------------------------------------------------------------


def test_every_example_once_in_changing_order():
    drawing = drawing_of(UNIFORM, examples(20))
    orders = [drawing.order(epoch) for epoch in range(5)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len(set(map(tuple, orders))) == 5
    drawing.record(orders[0], torch.zeros(20))
    assert drawing.state == {} and drawing.table() is None


# -- balanced -------------------------------------------------------------------------------------


def balanced(share: float) -> BalancedDrawing:
    return BalancedDrawing(name="balanced", positive_share=share)


@pytest.mark.parametrize(
    ("positive", "share", "expected"),
    [(5, 0.5, 10), (15, 0.5, 10), (1, 0.25, 5), (19, 0.9, 18), (3, 0.01, 0), (10, 0.33, 7)],
)
def test_the_share_with_foreground_is_exact(positive, share, expected):
    drawing = drawing_of(balanced(share), examples(20, positive))
    for epoch in range(3):
        order = drawing.order(epoch)
        assert len(order) == 20
        assert sum(index < positive for index in order) == expected


def test_both_kinds_are_gone_through_before_any_is_repeated():
    drawing = drawing_of(balanced(0.5), examples(20, 4))
    counts = Counter(drawing.order(0))
    # Ten with foreground of four: each two or three times; ten of sixteen without: at most once.
    assert {counts[index] for index in range(4)} == {2, 3}
    assert max(counts[index] for index in range(4, 20)) == 1


def test_both_kinds_are_mixed_and_differ_from_epoch_to_epoch():
    drawing = drawing_of(balanced(0.5), examples(40, 20))
    first, second = drawing.order(0), drawing.order(1)
    assert first != second
    assert 0 < sum(index < 20 for index in first[:20]) < 20
    assert drawing.state == {} and drawing.table() is None


@pytest.mark.parametrize("positive", [0, 20])
def test_where_there_is_one_kind_alone_all_are_drawn(positive):
    drawing = drawing_of(balanced(0.3), examples(20, positive))
    assert sorted(drawing.order(0)) == list(range(20))


# -- hard -----------------------------------------------------------------------------------------


def hard(unit: str = "example", epochs: int = 2, strength: float = 2, least: float = 0.2):
    return HardDrawing(name="hard", unit=unit, epochs=epochs, strength=strength, least=least)


# Case 0 has examples 0 and 2, case 1 has 1, 3 and 4.
ENTRIES = [(0, (0, 5)), (1, (0, 1)), (0, (0, 6)), (1, (0, 2)), (1, (0, 3))]
SCORES = [1.0, 0.5, 0.0, 0.9, 0.1]


def recorded(unit: str = "example", **changes: object):
    drawing = drawing_of(hard(unit, **changes), Listed(ENTRIES))
    drawing.record([4, 3, 2, 1, 0], torch.tensor(SCORES[::-1]))
    return drawing


def test_weights_of_examples_by_hand():
    drawing = recorded()
    drawing.order(2)
    expected = [0.2, 0.2 + 0.25, 1.2, 0.2 + 0.01, 0.2 + 0.81]
    assert drawing.state["weight"].tolist() == pytest.approx(expected, abs=1e-6)
    # The worse the Dice, the larger the weight.
    by_weight = sorted(range(5), key=lambda index: -drawing.state["weight"][index])
    assert by_weight == sorted(range(5), key=lambda index: SCORES[index])


def test_weights_of_cases_are_those_of_the_mean_of_their_examples():
    drawing = recorded("case")
    drawing.order(2)
    first, second = 0.2 + 0.5**2, 0.2 + 0.5**2  # both cases have a mean of one half
    assert drawing.state["weight"].tolist() == pytest.approx([first, second, first, second, second])
    drawing.record([0, 1], torch.tensor([0.6, 0.2]))
    drawing.order(4)
    first, second = 0.2 + 0.7**2, 0.2 + 0.6**2
    assert drawing.state["weight"].tolist() == pytest.approx([first, second, first, second, second])


def test_weights_are_equal_at_first_and_renewed_every_so_many_epochs():
    drawing = recorded(epochs=3)
    for epoch in range(3):
        drawing.order(epoch)
        assert drawing.state["weight"].tolist() == [1] * 5
    drawing.order(3)
    before = drawing.state["weight"].clone()
    drawing.record([0], torch.tensor([0.0]))
    for epoch in (4, 5):
        drawing.order(epoch)
        assert torch.equal(drawing.state["weight"], before)
    drawing.order(6)
    assert drawing.state["weight"][0] == pytest.approx(1.2)


def test_what_was_never_seen_counts_as_missed():
    drawing = drawing_of(hard(), Listed(ENTRIES))
    drawing.record([0], torch.tensor([1.0]))
    drawing.order(2)
    assert drawing.state["weight"].tolist() == pytest.approx([0.2, 1.2, 1.2, 1.2, 1.2])


def test_of_an_example_that_was_drawn_twice_the_last_dice_counts():
    drawing = drawing_of(hard(), Listed(ENTRIES))
    drawing.record([1, 3, 1, 1], torch.tensor([0.9, 0.3, 0.8, 0.7]))
    assert drawing.state["dice"].tolist() == pytest.approx([0, 0.7, 0, 0.3, 0])


def test_examples_are_drawn_in_proportion_to_their_weights():
    drawing = drawing_of(hard(least=0.25, strength=1), examples(1000))
    # A half without fault, a half missed: 0.25 to 1.25.
    drawing.record(list(range(500)), torch.ones(500))
    counts = [sum(index >= 500 for index in drawing.order(2)) for _ in range(10)]
    assert all(len(drawing.order(3)) == 1000 for _ in range(2))
    assert sum(counts) / 10_000 == pytest.approx(1.25 / 1.5, abs=0.02)


def test_a_stored_state_goes_on_as_it_was(tmp_path):
    drawing = recorded()
    drawing.order(2)
    drawing.record([1], torch.tensor([0.3]))
    torch.save(drawing.state, tmp_path / "state.pt")
    again = drawing_of(hard(), Listed(ENTRIES))
    again.state = torch.load(tmp_path / "state.pt", weights_only=True)
    for epoch in range(3, 8):
        orders = []
        for one in (drawing, again):
            torch.manual_seed(epoch)
            orders.append(one.order(epoch))
            one.record(orders[-1], torch.rand(5))
        assert orders[0] == orders[1]
    assert drawing.table() == again.table()


def test_the_table_has_a_row_for_every_example_hard_ones_first():
    drawing = recorded()
    drawing.order(2)
    drawing.record([1], torch.tensor([0.4]))  # its weight is still that of 0.5
    assert [" ".join(row.values()) for row in drawing.table()] == [
        "case_1 0 3 0.4667 0.1000 1.0100",
        "case_1 0 1 0.4667 0.4000 0.4500",
        "case_1 0 2 0.4667 0.9000 0.2100",
        "case_0 0 6 0.5000 0.0000 1.2000",
        "case_0 0 5 0.5000 1.0000 0.2000",
    ]
    assert list(drawing.table()[0]) == ["case", "place", "case_dice", "dice", "weight"]
