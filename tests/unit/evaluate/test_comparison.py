"""The comparison of rows: which are better, by how much, and what a metric's gaps do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from renal.errors import InputError
from renal.evaluate import statistics
from renal.evaluate.comparison import RANKED_SAMPLES, SAMPLES, compare

CASES = [f"case_{number:05d}" for number in range(40)]
HARD = np.random.default_rng(3).beta(8, 2, len(CASES))


def scores(folder: Path, row: str, tumour: np.ndarray, cases=CASES, **columns) -> Path:
    """A scores.csv in which the kidney is always the same."""
    dice = np.round(tumour, 6)
    table = pd.DataFrame({"method": row, "case": cases, "grid": "native", "kidney_dice": 0.9})
    table["tumour_dice"] = dice
    table["composite"] = (0.9 + dice) / 2
    for region, values in (("kidney", 0.9), ("tumour", dice)):
        table[f"{region}_surface_area_dice"] = values
        table[f"{region}_hd95"] = columns.get(f"{region}_hd95", 5.0)
    other = table.assign(grid="resampled", tumour_dice=0.123)
    path = folder / f"{row}.csv"
    pd.concat([table, other]).to_csv(path, index=False)
    return path


@pytest.fixture
def found(tmp_path) -> dict[str, pd.DataFrame]:
    """`good` is better than `poor` in every case, `alike` than neither."""
    noise = np.random.default_rng(4).normal(0, 0.02, len(CASES))
    missed = np.where(np.arange(len(CASES)) < 4, 0, HARD - 0.05)
    hd95 = np.where(missed > 0, 7.0, np.nan)
    paths = [
        scores(tmp_path, "good", HARD),
        scores(tmp_path, "poor", missed, tumour_hd95=hd95),
        scores(tmp_path, "alike", HARD + noise),
    ]
    return compare(paths, {"good": ("a/one",), "poor": ("b/one",), "alike": ("a/one", "c/one")})


def line(table: pd.DataFrame, **values: object) -> pd.Series:
    for column, value in values.items():
        table = table[table[column] == value]
    (found,) = (row for _, row in table.iterrows())
    return found


def test_differences_are_paired_and_tested(found):
    pair = line(found["pairs"], metric="tumour_dice", first="good", second="poor")
    difference = HARD - np.where(np.arange(len(CASES)) < 4, 0, HARD - 0.05)
    assert pair["mean"] == pytest.approx(difference.mean(), abs=1e-6)
    assert pair["median"] == pytest.approx(0.05, abs=1e-6)
    assert pair["low"] < pair["mean"] < pair["high"]
    assert pair["better"] == "good"
    assert pair["p"] <= pair["p_holm"] < 1e-6
    equal = line(found["pairs"], metric="tumour_dice", first="good", second="alike")
    assert equal["better"] == ""
    assert abs(equal["mean"]) < equal["detectable"]


def test_the_whole_table_of_pairs_is_scipys_and_statsmodels(found):
    """Differences, p, Holm's p within a metric, what is detectable; of metrics with gaps, too."""
    values = found["cases"].pivot(index=["task", "case"], columns="alg_name", values="value")
    expected = []
    for metric in found["pairs"]["metric"].unique():
        lines = []
        for first, second in (("good", "poor"), ("good", "alike"), ("poor", "alike")):
            difference = (values.loc[metric, first] - values.loc[metric, second]).dropna().round(9)
            p = stats.wilcoxon(difference).pvalue if difference.any() else 1.0
            # In SDs of the differences: another spread, as of one row's values, is far from it.
            effect = TTestPower().solve_power(nobs=len(difference), alpha=0.05, power=0.8)
            lines.append(
                {
                    "metric": metric,
                    "first": first,
                    "second": second,
                    "cases": len(difference),
                    "mean": difference.mean(),
                    "median": difference.median(),
                    "p": p,
                    "detectable": effect * difference.std(),
                }
            )
        adjusted = multipletests([line["p"] for line in lines], method="holm")[1]
        expected += [
            line | {"p_holm": p_holm} for line, p_holm in zip(lines, adjusted, strict=True)
        ]
    table = pd.DataFrame(expected)
    assert len(table) == 3 * 7
    assert table["cases"].min() < table["cases"].max()
    assert (table["p_holm"] > table["p"]).any()
    pd.testing.assert_frame_equal(found["pairs"][list(table)], table, rtol=1e-6, atol=1e-12)


def test_a_row_without_any_difference_is_not_better(found):
    pair = line(found["pairs"], metric="kidney_dice", first="good", second="poor")
    assert (pair["p"], pair["p_holm"], pair["better"], pair["detectable"]) == (1, 1, "", 0)
    ranks = found["rows"][found["rows"]["metric"] == "kidney_dice"]
    assert set(ranks["rank_mean"]) == set(ranks["rank_mean_rank"]) == set(ranks["rank_test"]) == {1}


def test_rows_that_share_a_model_depend(found):
    dependent = found["pairs"].set_index(["first", "second"])["dependent"]
    assert dependent.loc["good", "alike"].all()
    assert not dependent.loc["good", "poor"].any()


def test_failures_are_counted_and_last_in_ranks(found):
    rows = found["rows"]
    assert line(rows, metric="tumour_dice", row="poor")["failures"] == 4
    assert line(rows, metric="composite", row="poor")["failures"] == 4
    assert line(rows, metric="kidney_dice", row="poor")["failures"] == 0
    distance = line(rows, metric="tumour_hd95", row="poor")
    assert distance["cases"] == len(CASES) - 4
    pair = line(found["pairs"], metric="tumour_hd95", first="good", second="poor")
    assert (pair["cases"], pair["mean"], pair["better"]) == (len(CASES) - 4, -2, "good")
    assert distance["rank_mean"] == distance["rank_mean_rank"] == distance["rank_test"] == 3


def test_ranks_have_intervals_and_agree(found):
    good = line(found["rows"], metric="tumour_dice", row="good")
    poor = line(found["rows"], metric="tumour_dice", row="poor")
    for scheme in ("mean", "mean_rank", "test"):
        assert (good[f"rank_{scheme}_low"], good[f"rank_{scheme}_high"]) in [(1, 1), (1, 2)]
        assert poor[f"rank_{scheme}"] == poor[f"rank_{scheme}_low"] == 3
    tau = found["schemes"][found["schemes"]["metric"] == "tumour_dice"]["kendall_tau"]
    assert (tau > 0.3).all()


def test_the_shares_of_places_are_those_that_intervals_are_made_of(found):
    places, rows = found["places"], found["rows"]
    together = places.groupby(["metric", "scheme", "row"])["share"].sum()
    assert together.to_numpy() == pytest.approx(1)
    assert len(together) == 3 * len(rows)
    for row in rows.to_dict("records"):
        own = places[(places["metric"] == row["metric"]) & (places["row"] == row["row"])]
        sampled = own[own["scheme"] == "mean"].sort_values("place")
        below = sampled["share"].cumsum()
        assert sampled["place"][below >= 0.025].iloc[0] == row["rank_mean_low"]
        assert sampled["place"][below >= 0.975].iloc[0] == row["rank_mean_high"]
    tumour = line(places, metric="tumour_dice", scheme="mean", row="poor")
    assert (tumour["place"], tumour["share"]) == (3, 1)


def test_challenger_gets_a_value_for_each_case_and_row(found):
    cases = found["cases"]
    assert list(cases) == ["task", "case", "alg_name", "value"]
    tumour = cases[cases["task"] == "tumour_dice"]
    assert len(tumour) == 3 * len(CASES)
    assert not (tumour["value"] == 0.123).any()


def test_cases_are_those_that_all_rows_share(tmp_path):
    paths = [
        scores(tmp_path, "one", HARD),
        scores(tmp_path, "two", HARD[5:], cases=CASES[5:]),
    ]
    found = compare(paths, {"one": (), "two": ()})
    assert set(found["pairs"]["cases"]) == {len(CASES) - 5}
    paths[1] = scores(tmp_path, "two", HARD[:1], cases=CASES[:1])
    with pytest.raises(InputError, match="1 cases were scored for all of them, two are needed"):
        compare(paths, {"one": (), "two": ()})


def test_values_are_paired_by_case_in_whatever_order_the_files_have_them(tmp_path):
    paths = [
        scores(tmp_path, "good", HARD),
        scores(tmp_path, "poor", HARD[::-1] - 0.05, cases=CASES[::-1]),
    ]
    pair = line(compare(paths, {"good": (), "poor": ()})["pairs"], metric="tumour_dice")
    assert [pair["first_quartile"], pair["third_quartile"]] == pytest.approx([0.05] * 2, abs=1e-5)


def test_ranks_of_samples_by_tests_are_adjusted_for_all_pairs(tmp_path):
    """Two rows are the same, so that by Holm the third one's p count threefold."""
    worse = np.round(HARD, 6) - np.random.default_rng(5).normal(0.012, 0.02, len(CASES)).round(6)
    paths = [scores(tmp_path, name, HARD) for name in ("one", "again")]
    paths.append(scores(tmp_path, "poor", worse))
    found = compare(paths, {"one": (), "again": (), "poor": ()})["places"]
    drawn = statistics.draws(len(CASES), SAMPLES)[:RANKED_SAMPLES]
    z = statistics.resampled_signed_rank(np.round(HARD, 6) - worse, drawn)
    p = np.where(z > 0, 2 * stats.norm.sf(z), 1)
    last, unadjusted = ((times * p < 0.05).mean() for times in (3, 1))
    assert 0.1 < last < unadjusted - 0.1
    poor = line(found, metric="tumour_dice", scheme="test", row="poor", place=3)
    assert poor["share"] == pytest.approx(last)


def test_a_region_that_a_row_does_not_look_for_is_not_compared(tmp_path):
    blank = np.full(len(CASES), np.nan)
    paths = [scores(tmp_path, name, HARD) for name in ("one", "two")]
    paths.append(scores(tmp_path, "three", blank, tumour_hd95=blank))
    found = compare(paths, {"one": (), "two": (), "three": ()})
    rows = found["rows"].groupby("metric")["row"].apply(list)
    assert rows["tumour_dice"] == rows["composite"] == ["one", "two"]
    assert rows["kidney_dice"] == ["one", "two", "three"]


def test_without_a_case_that_all_rows_have_a_value_of_there_is_no_place_by_mean(tmp_path):
    first = np.arange(len(CASES)) < 30
    paths = [
        scores(tmp_path, "good", HARD, tumour_hd95=np.where(first, 2.0, np.nan)),
        scores(tmp_path, "poor", HARD, tumour_hd95=np.where(first, np.nan, 90.0)),
    ]
    found = compare(paths, {"good": (), "poor": ()})
    rows = found["rows"][found["rows"]["metric"] == "tumour_hd95"].set_index("row")
    assert rows[["rank_mean", "rank_mean_low", "rank_mean_high"]].isna().all(axis=None)
    assert rows["rank_mean_rank"].tolist() == [1, 2]
    assert rows["rank_test"].tolist() == [1, 1]
    places = found["places"][found["places"]["metric"] == "tumour_hd95"]
    assert set(places["scheme"]) == {"mean_rank", "test"}
    tau = found["schemes"].set_index(["metric", "scheme"])["kendall_tau"]
    assert tau["tumour_hd95", "mean"].isna().all()
    assert line(found["rows"], metric="tumour_dice", row="good")["rank_mean"] == 1


def test_samples_without_a_case_that_all_rows_have_a_value_of_count_for_no_place(tmp_path):
    hd95 = np.where(np.arange(len(CASES)) < 1, 2.0, np.nan)
    paths = [
        scores(tmp_path, "good", HARD, tumour_hd95=hd95),
        scores(tmp_path, "poor", HARD, tumour_hd95=hd95 + 1),
    ]
    rows = compare(paths, {"good": (), "poor": ()})["rows"]
    poor = line(rows, metric="tumour_hd95", row="poor")
    assert [poor[f"rank_mean{end}"] for end in ("", "_low", "_high")] == [2, 2, 2]


def test_rows_without_a_region_in_common_are_told(tmp_path):
    paths = [scores(tmp_path, name, HARD) for name in ("one", "two")]
    for path, region in zip(paths, ("kidney", "tumour"), strict=True):
        table = pd.read_csv(path)
        missed = [column for column in table if column.startswith((region, "composite"))]
        table.assign(**dict.fromkeys(missed, np.nan)).to_csv(path, index=False)
    with pytest.raises(InputError, match="one, two: no two look for the same region"):
        compare(paths, {"one": (), "two": ()})
