"""The comparison as tables: what stands where, and what is left out."""

import pandas as pd
import pytest

from renal.report.comparison import comparison_forms, read_comparison, write_comparison
from renal.report.settings import Row

NAN = float("nan")


def row(name: str, place: int, **values) -> dict:
    ranks = {
        f"rank_{scheme}{end}": place
        for scheme in ("mean", "mean_rank", "test")
        for end in ("", "_low", "_high")
    }
    described = {"mean": 0.9, "low": 0.85, "high": 0.94, "median": 0.91}
    quartiles = {"first_quartile": 0.8, "third_quartile": 0.95}
    fixed = {"metric": "kidney_dice", "row": name, "cases": 20, "failures": 1}
    return {**fixed, **described, **quartiles, **ranks, **values}


def pair(first: str, second: str, **values) -> dict:
    described = {"cases": 20, "mean": 0.1, "low": 0.05, "high": 0.14, "median": 0.11}
    quartiles = {"first_quartile": 0.0, "third_quartile": 0.2}
    tested = {"p": 1e-7, "p_holm": 1.23456789e-7, "better": first, "detectable": 0.03}
    fixed = {"metric": "kidney_dice", "first": first, "second": second, "dependent": False}
    return {**fixed, **described, **quartiles, **tested, **values}


def found(*names: str) -> dict[str, pd.DataFrame]:
    pairs = [pair(a, b, dependent=b == "two") for i, a in enumerate(names) for b in names[i + 1 :]]
    schemes = [("kidney_dice", "mean", "mean_rank", 0.5), ("kidney_dice", "mean", "test", NAN)]
    cases = [("kidney_dice", "case_00000", name, NAN) for name in names]
    places = [("kidney_dice", "mean", name, n, 1.0) for n, name in enumerate(names, 1)]
    return {
        "pairs": pd.DataFrame(pairs),
        "rows": pd.DataFrame([row(name, len(names) - n) for n, name in enumerate(names)]),
        "schemes": pd.DataFrame(schemes, columns=["metric", "scheme", "other", "kendall_tau"]),
        "places": pd.DataFrame(places, columns=["metric", "scheme", "row", "place", "share"]),
        "cases": pd.DataFrame(cases, columns=["task", "case", "alg_name", "value"]),
    }


METHODS = {
    "one": Row(family="a", title="One", published=None, trained_on_these=True, missing=3),
    "two": Row(family="a", title="Two", published=None),
}


def test_tables_say_who_is_better_and_what_depends(tmp_path):
    write_comparison(found("one", "two"), METHODS, tmp_path)
    text = (tmp_path / "compare.md").read_text()
    assert (
        "| `two` | 0.900 [0.850, 0.940] | 0.910 (0.800 to 0.950) | 20 | 1 | 1 [1, 1] | 1 [1, 1] "
        "| 1 [1, 1] | - |"
    ) in text
    assert text.index("| `two` |") < text.index("| `one` |")
    assert "| 2 [2, 2] | two* |" in text
    assert "| `one` - `two`* | 0.100 [0.050, 0.140] | +0.110 (+0.000 to +0.200) | 20 " in text
    assert "| < 0.0001 | one | 0.030 |" in text
    assert "| Kidney Dice | 0.50 | - |" in text
    assert "whose models were trained on these cases: one." in text
    assert "scored as empty: one 3." in text
    page = (tmp_path / "compare.html").read_text()
    assert "<h3>Kidney Dice</h3>" in page
    assert "`" not in page


def test_files_for_programs(tmp_path):
    write_comparison(found("one", "two"), METHODS, tmp_path)
    pairs = pd.read_csv(tmp_path / "compare.csv")
    assert pairs["p_holm"].tolist() == [1.23456789e-7]
    assert list(pd.read_csv(tmp_path / "compare_rows.csv")["row"]) == ["one", "two"]
    assert (tmp_path / "compare_schemes.csv").read_text().splitlines()[2].endswith("test,")
    challenger = (tmp_path / "compare_cases.csv").read_text().splitlines()
    assert challenger[:2] == ["task,case,alg_name,value", "kidney_dice,case_00000,one,NA"]


@pytest.mark.parametrize(("rows", "listed"), [(6, True), (7, False)])
def test_many_pairs_are_left_to_the_file(tmp_path, rows, listed):
    names = [f"row{number}" for number in range(rows)]
    write_comparison(found(*names), {}, tmp_path)
    assert ("## Kidney Dice: pairs" in (tmp_path / "compare.md").read_text()) == listed


def test_what_is_not_known_is_a_dash(tmp_path):
    tables = found("one", "two")
    tables["rows"].loc[0, ["mean", "low", "high"]] = NAN
    tables["rows"].loc[1, ["low", "high"]] = NAN
    places = ["rank_mean", "rank_mean_low", "rank_mean_high"]
    tables["rows"] = tables["rows"].astype(dict.fromkeys(places, "Int64"))
    tables["rows"].loc[0, places] = pd.NA
    tables["pairs"]["detectable"] = NAN
    tables["pairs"]["better"] = ""
    write_comparison(tables, METHODS, tmp_path)
    text = (tmp_path / "compare.md").read_text()
    assert "| `one` | - |" in text
    assert "| `two` | 0.900 |" in text
    assert "| 20 | 1 | - | 2 [2, 2] | 2 [2, 2] | - |" in text
    assert "| < 0.0001 | - | - |" in text
    for title, form in comparison_forms(read_comparison(tmp_path)).items():
        pd.testing.assert_frame_equal(form, comparison_forms(tables)[title])
