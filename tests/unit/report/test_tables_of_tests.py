"""The table of the test set."""

from dataclasses import replace

import pandas as pd
import pytest

from renal import recipe
from renal.errors import InputError
from renal.labels import KITS19
from renal.recipe.schemes import KITS23
from renal.report.settings import Row
from renal.report.tables_of_tests import write_test_tables

PUBLISHED = {
    "dice": {"kidney": [0.9655, None], "tumour": [0.752, None]},
    "grid": "native",
    "where": "challenge test set",
}


def rows_of(method, tumours, labels=KITS19):
    """Scores of some cases that have the same kidney Dice, and no cysts."""
    rows = []
    for case, tumour in tumours.items():
        row = {"method": method, "family": "f", "fold": "", "case": case, "grid": "native"}
        row |= {"kidney_dice": 0.9, "tumour_dice": tumour, "composite": (0.9 + tumour) / 2}
        row["tumour_detection"] = "found" if tumour else "missed"
        row |= {f"{name}_dice": tumour for name in labels.names if name == "masses"}
        for region in labels.names:
            others = ("hd95", "surface_dice", "surface_area_dice", "volume_error")
            row |= {f"{region}_{metric}": 0.5 for metric in others}
            row[f"located_{region}"] = ""
        rows.append(row)
    return rows


@pytest.fixture
def scores(tmp_path):
    def write(labels=KITS19, **methods):
        paths = []
        for name, tumours in methods.items():
            paths.append(tmp_path / name / "test_scores.csv")
            paths[-1].parent.mkdir(exist_ok=True)
            pd.DataFrame(rows_of(name, tumours, labels)).to_csv(paths[-1], index=False)
        return paths

    return write


def test_the_mean_over_cases_stands_beside_what_was_published_on_this_set(scores, tmp_path):
    paths = scores(own={"a": 0.8, "b": 0.0, "c": 0.4}, other={"a": 0.5, "b": 0.5, "c": 0.5})
    on_folds = PUBLISHED | {"where": "five-fold cross-validation"}
    methods = {
        "own": Row(family="f", title="Own", published=PUBLISHED),
        "other": Row(family="f", title="Other", published=on_folds),
    }
    write_test_tables(paths, methods, tmp_path / "tables")
    table = pd.read_csv(tmp_path / "tables/test.csv").set_index(["method", "grid", "metric"])
    tumour = table.loc["own", "native", "tumour_dice"]
    assert (tumour["mean"], tumour["sd"]) == pytest.approx((0.4, 0.4))
    assert "SD over the cases, with n - 1" in (tmp_path / "tables/test.md").read_text()
    assert (tumour["cases"], tumour["published"]) == (3, 0.752)
    assert table.loc["own", "native", "tumours_found"]["mean"] == pytest.approx(2 / 3)
    assert pd.isna(table.loc["other", "native", "tumour_dice"]["published"])
    text = (tmp_path / "tables/test.md").read_text()
    assert "| Own (`own`) | 0.900 (0.000) [0.966] | 0.400 (0.400) [0.752] | 0.650" in text
    assert "| Other (`other`) | 0.900 (0.000) | 0.500 (0.000) | 0.700" in text
    assert "KiTS19 winner, test set, published | 0.974 | 0.851 | 0.912 | 90" in text
    assert (
        "labels of 2019" in text and "labels of 2019" in (tmp_path / "tables/test.html").read_text()
    )


def test_by_kits23s_scheme_what_means_the_same_is_quoted(scores, tmp_path):
    """The public labels of the test set have cysts: kidney and tumour are what they were."""
    row = recipe.row({"own": recipe.load_method("damnet", {})}, "own")
    paths = scores(labels=KITS23, own={"a": 0.8, "b": 0.4})
    write_test_tables(paths, {"own": row}, tmp_path, KITS23)
    text = (tmp_path / "test.md").read_text()
    assert "## Test set: Native grid, official KiTS23 Dice" in text
    own = "0.900 (0.000) [0.966] | 0.600 (0.283) | 0.600 (0.283) [0.752] | 0.750 (0.141) | 2"
    assert f"(`own`) | {own} |" in text
    assert "KiTS19 winner, test set, published | 0.974 | - | 0.851 | - | 90 |" in text
    assert "later version" in text


def test_by_a_scheme_of_ones_own_nothing_is_quoted(scores, tmp_path):
    row = recipe.row({"own": recipe.load_method("damnet", {})}, "own")
    own = replace(KITS19, name="")
    write_test_tables(scores(own={"a": 0.8, "b": 0.4}), {"own": row}, tmp_path, own)
    text = (tmp_path / "test.md").read_text()
    assert "published" not in text.lower() and "[" not in text and "later version" not in text
    assert pd.read_csv(tmp_path / "test.csv")["published"].isna().all()


def test_a_metric_that_fewer_cases_have_says_of_how_many(scores, tmp_path):
    (path,) = scores(own={"a": 0.8, "b": 0.0, "c": 0.4})
    table = pd.read_csv(path, keep_default_na=False).astype({"tumour_hd95": object})
    table.loc[1, ["tumour_hd95", "tumour_detection"]] = ["", "absent"]
    table.to_csv(path, index=False)
    write_test_tables([path], {"own": Row(family="f", title="Own", published=None)}, tmp_path)
    text = (tmp_path / "test.md").read_text()
    further = next(line for line in reversed(text.splitlines()) if "`own`" in line)
    assert further.startswith(
        "| Own (`own`) | 0.500 (0.000) | 0.500 (0.000), n=2 | 0.500 (0.000) |"
    )
    assert " | 1.000 (0.000), n=2 | " in further
    assert further.endswith(" | 3 |")


@pytest.mark.parametrize("other", [{"a": 0.1}, {"a": 0.1, "c": 0.2}])
def test_rows_of_other_cases_make_no_table(scores, tmp_path, other):
    methods = {name: Row(family="f", title=name, published=None) for name in ("one", "two")}
    with pytest.raises(InputError, match=r"two/test_scores\.csv: .*other cases than one"):
        write_test_tables(scores(one={"a": 0.1, "b": 0.2}, two=other), methods, tmp_path / "t")
    assert not (tmp_path / "t").exists()
