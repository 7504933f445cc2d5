"""Which cases went best and worst."""

import pytest

from renal.report.ranked import mean_of_rows, ranked_cases

from .test_overlays import scores


@pytest.mark.parametrize(
    ("composites", "expected"),
    [
        ((0.5, 0.9, 0.1), ("case_1", "case_0", "case_2")),
        ((0.1, 0.2, 0.3, 0.4), ("case_3", "case_2", "case_0")),
        ((0.7,), ("case_0", "case_0", "case_0")),
        ((0.5, 0.5, 0.5), ("case_2", "case_1", "case_0")),  # equal scores go by name
    ],
)
def test_ranked_cases(composites, expected):
    ranked = ranked_cases(scores(*composites))
    assert tuple(ranked[rank]["case"] for rank in ("best", "median", "worst")) == expected
    assert all(row["grid"] == "native" for row in ranked.values())


def test_the_mean_of_rows_orders_cases_from_worst_to_best():
    mean = mean_of_rows({"one": scores(0.5, 0.9, 0.2), "two": scores(0.5, 0.1, 0.6)})
    assert list(mean.index) == ["case_2", "case_0", "case_1"]
    assert mean.tolist() == pytest.approx([0.4, 0.5, 0.5])


def test_of_a_row_that_looks_for_kidneys_alone_their_dice_counts():
    kidneys = scores(0.5, 0.9).assign(tumour_dice=float("nan"), composite=float("nan"))
    assert ranked_cases(kidneys)["worst"]["case"] == "case_0"
    mean = mean_of_rows({"one": scores(0.6, 0.6), "kidneys": kidneys})
    assert mean["case_0"] == pytest.approx(0.55)
