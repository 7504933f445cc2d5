"""Annotators among themselves as a row of the tables."""

import pandas as pd
import pytest

from renal.labels import KITS19
from renal.report import tables
from renal.report.annotators import ANNOTATORS
from renal.report.settings import Row
from renal.report.tables_of_tests import write_test_tables

METHODS = {"one": Row(family="tiny", title="Title of one", published=None)}
OTHERS = [m for m in tables.further_titles(KITS19) if m != "tumours_found"]


def scored(**values):
    return dict.fromkeys(OTHERS) | {"tumour_detection": "found", "composite": 0.5} | values


@pytest.fixture
def written(tmp_path):
    """Tables of a method and of two cases, of which one has three pairs and one has one.

    A test case, which has a pair too, is in a table of its own.
    """
    native = scored(kidney_dice=0.9, tumour_dice=0.1, method="one", family="tiny", fold=0)
    rows = [{**native, "case": case, "grid": grid} for grid in tables.GRIDS for case in "ab"]
    pd.DataFrame(rows).to_csv(tmp_path / "scores.csv", index=False)
    pairs = [
        scored(case="a", first=1, second=2, kidney_dice=0.98, tumour_dice=0.9, tumour_hd95=1.0),
        scored(case="a", first=1, second=3, kidney_dice=0.97, tumour_dice=0.8, tumour_hd95=2.0),
        scored(case="a", first=2, second=3, kidney_dice=0.96, tumour_dice=0.7, tumour_hd95=3.0),
        scored(case="b", first=1, second=2, kidney_dice=0.99, tumour_dice=1.0),
    ]
    pairs[-1]["tumour_detection"] = "absent"
    pairs.append(scored(case="test", first=1, second=2, kidney_dice=0.91, tumour_dice=0.6))
    path = tmp_path / "annotators.csv"
    pd.DataFrame(pairs).drop(columns=["located_kidney", "located_tumour"]).to_csv(path, index=False)
    tables.write_tables([tmp_path / "scores.csv"], METHODS, tmp_path, KITS19, path)
    return tmp_path


def lines(folder):
    text = (folder / "cv.md").read_text()
    return [line for line in text.splitlines() if line.lower().startswith(f"| {ANNOTATORS}")]


def test_the_mean_is_over_cases_of_the_mean_over_pairs(written):
    table = pd.read_csv(written / "cv.csv")
    part = table[table["method"] == ANNOTATORS].set_index("metric")
    assert part.loc["kidney_dice", "mean"] == pytest.approx((0.97 + 0.99) / 2)
    assert part.loc["tumour_dice", "mean"] == pytest.approx((0.8 + 1.0) / 2)
    assert part.loc["tumour_hd95", ["mean", "cases"]].tolist() == [2.0, 1]
    assert part.loc["tumours_found", ["mean", "cases"]].tolist() == [1.0, 1]
    assert part.loc["located_tumour", "cases"] == 0
    assert set(part["grid"]) == {"native"}
    assert part[["sd", "published"]].isna().all().all()


def test_the_row_stands_below_the_methods_and_above_what_others_report(written):
    dice, further = lines(written)
    assert dice == f"| {ANNOTATORS.capitalize()} | 0.980 | 0.900 | 0.500 | 2 |  |"
    assert "| 2.000, n=1 |" in further
    text = (written / "cv.md").read_text()
    order = ["Title of one", ANNOTATORS.capitalize(), "KiTS19 winner"]
    assert sorted(order, key=text.index) == order
    assert "the 2 labelled cases that have several outlines" in text
    for name in ("cv.tex", "cv.html"):
        assert (written / name).read_text().count(ANNOTATORS.capitalize()) >= 3


def test_the_row_is_there_in_the_table_that_was_stored(written):
    """The page to look at is made from it."""
    stored = pd.read_csv(written / "cv.csv")
    form = tables.forms(stored, METHODS)["Native grid, official KiTS19 Dice"]
    assert form["Method"].tolist()[1] == ANNOTATORS.capitalize()
    assert form["Cases"].tolist()[1] == "2"


def test_without_outlines_there_is_no_row_and_no_note(written):
    tables.write_tables([written / "scores.csv"], METHODS, written, KITS19)
    assert lines(written) == []
    assert ANNOTATORS not in (written / "cv.md").read_text().lower()


def test_test_cases_have_the_row_in_their_own_table(written):
    native = scored(kidney_dice=0.9, tumour_dice=0.1, method="one", grid="native", fold="")
    pd.DataFrame([native | {"case": "test"}]).to_csv(written / "test_scores.csv", index=False)
    scores, path = [written / "test_scores.csv"], written / "annotators.csv"
    write_test_tables(scores, METHODS, written, KITS19, path)
    table = pd.read_csv(written / "test.csv").set_index(["method", "metric"])
    row = table.loc[ANNOTATORS, "kidney_dice"]
    assert (row["mean"], row["cases"]) == (0.91, 1)
    text = (written / "test.md").read_text()
    row = f"| {ANNOTATORS.capitalize()} | 0.910 | 0.600 | 0.500 | 1 |"
    order = ["Title of one", row, "KiTS19 winner"]
    assert sorted(order, key=text.index) == order
    assert "the 1 labelled cases that have several outlines" in text
    write_test_tables(scores, METHODS, written, KITS19)
    assert ANNOTATORS not in (written / "test.md").read_text().lower()


def test_without_an_outline_of_the_scored_cases_there_is_no_row(written):
    pairs = pd.read_csv(written / "annotators.csv")
    pairs[pairs["case"] == "test"].to_csv(written / "annotators.csv", index=False)
    scores = [written / "scores.csv"]
    tables.write_tables(scores, METHODS, written, KITS19, written / "annotators.csv")
    assert lines(written) == []
