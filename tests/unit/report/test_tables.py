"""Tests of the cross-validation tables against a frame small enough to compute by hand."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from renal.errors import InputError
from renal.labels import KITS19, Labels
from renal.report import tables
from renal.report.published import KITS19_REACHED
from renal.report.settings import Row

DICE, OTHERS = tables.dice_titles(KITS19), tables.further_titles(KITS19)
NOTHING = {name: math.nan for name in OTHERS if name != "tumours_found"}


def score(
    fold: int,
    case: str,
    kidney: float,
    tumour: float,
    detection: str = "found",
    grid: str = "native",
    method: str = "one",
    **others: float,
) -> dict:
    return {
        "method": method,
        "family": "tiny",
        "fold": fold,
        "case": case,
        "grid": grid,
        "kidney_dice": kidney,
        "tumour_dice": tumour,
        "composite": (kidney + tumour) / 2,
        **NOTHING,
        "tumour_detection": detection,
        **others,
    }


def all_grids(*rows: dict) -> pd.DataFrame:
    """Native rows, and the same values on the other grids."""
    return pd.DataFrame([{**row, "grid": grid} for row in rows for grid in tables.GRIDS])


FOLDS = (
    # Three cases in one fold and one in the other: the folds weigh the same.
    score(0, "case_0", 0.9, 0.6, "found", kidney_hd95=4.0),
    score(0, "case_1", 0.8, 0.0, "missed", kidney_hd95=math.nan),
    score(0, "case_2", 0.7, 0.0, "missed", kidney_hd95=6.0),
    score(1, "case_3", 0.9, 1.0, "absent", kidney_hd95=7.0),
)


def rows(published: dict | None = None, *names: str) -> dict[str, Row]:
    return {
        name: Row(family="tiny", title=f"Title of {name}", published=published)
        for name in names or ("one",)
    }


def value(table: pd.DataFrame, metric: str, grid: str = "native", method: str = "one") -> pd.Series:
    found = table[
        (table["metric"] == metric) & (table["grid"] == grid) & (table["method"] == method)
    ]
    assert len(found) == 1
    return found.iloc[0]


PUBLISHED = {
    "dice": {"kidney": (0.9655, 0.01), "tumour": (0.752, None)},
    "grid": "resampled",
    "where": "Table 1 & text, 50 % of_it",
}


# -- numbers --------------------------------------------------------------------------------------


def test_mean_and_sd_are_over_the_folds_means():
    table = tables.cross_validation(all_grids(*FOLDS), rows())
    kidney = value(table, "kidney_dice")
    # The folds' means are 0.8 and 0.9: their mean is 0.85, and their SD 0.1 / sqrt(2).
    assert kidney["mean"] == pytest.approx(0.85)
    assert kidney["sd"] == pytest.approx(0.1 / math.sqrt(2))
    assert (kidney["folds"], kidney["cases"]) == (2, 4)
    tumour = value(table, "tumour_dice")
    assert tumour["mean"] == pytest.approx((0.2 + 1.0) / 2)
    composite = value(table, "composite")
    assert composite["mean"] == pytest.approx((kidney["mean"] + tumour["mean"]) / 2)


def test_cases_without_a_value_do_not_count():
    table = tables.cross_validation(all_grids(*FOLDS), rows())
    distance = value(table, "kidney_hd95")
    assert distance["mean"] == pytest.approx((5 + 7) / 2)
    assert (distance["folds"], distance["cases"]) == (2, 3)
    nothing = value(table, "tumour_hd95")
    assert math.isnan(nothing["mean"])
    assert (nothing["folds"], nothing["cases"]) == (0, 0)


def test_tumours_found_is_a_share_of_the_cases_with_a_tumour():
    false_alarm = score(1, "case_4", 0.9, 0.0, "false alarm")
    found = score(1, "case_5", 0.9, 0.5, "found")
    table = tables.cross_validation(all_grids(*FOLDS, false_alarm, found), rows())
    share = value(table, "tumours_found")
    assert share["mean"] == pytest.approx((1 / 3 + 1) / 2)
    assert (share["folds"], share["cases"]) == (2, 4)


def test_a_single_fold_has_no_sd():
    table = tables.cross_validation(all_grids(*FOLDS[:3]), rows())
    kidney = value(table, "kidney_dice")
    assert kidney["mean"] == pytest.approx(0.8)
    assert math.isnan(kidney["sd"])
    text = tables.markdown(table, rows())
    assert "| 0.800 |" in text
    assert "(nan)" not in text


def test_every_method_grid_and_metric_has_a_row():
    other = [{**row, "method": "two", "kidney_dice": 0.5} for row in FOLDS]
    table = tables.cross_validation(all_grids(*FOLDS, *other), rows(None, "one", "two"))
    assert list(table.columns) == tables.COLUMNS
    metrics = [*DICE, *OTHERS]
    assert len(table) == 2 * len(tables.GRIDS) * len(metrics)
    assert not table.duplicated(["method", "grid", "metric"]).any()
    assert list(table["method"].unique()) == ["one", "two"]
    assert value(table, "kidney_dice", method="two")["mean"] == 0.5
    assert value(table, "kidney_dice", method="one")["mean"] == pytest.approx(0.85)


def test_grids_are_kept_apart():
    native = score(0, "case_0", 0.9, 0.5)
    ceiling = score(0, "case_0", 1.0, 1.0, grid="ceiling")
    table = tables.cross_validation(pd.DataFrame([native, ceiling]), rows())
    assert value(table, "kidney_dice")["mean"] == 0.9
    assert value(table, "kidney_dice", "ceiling")["mean"] == 1
    assert math.isnan(value(table, "kidney_dice", "resampled")["mean"])


def test_scores_are_not_changed():
    scores = all_grids(*FOLDS)
    before = scores.copy()
    tables.cross_validation(scores, rows())
    pd.testing.assert_frame_equal(scores, before)


def test_the_published_figure_stands_on_its_own_grid_only():
    table = tables.cross_validation(all_grids(*FOLDS), rows(PUBLISHED))
    assert value(table, "kidney_dice", "resampled")["published"] == 0.9655
    assert value(table, "tumour_dice", "resampled")["published"] == 0.752
    for metric, grid in (
        ("kidney_dice", "native"),
        ("kidney_dice", "ceiling"),
        ("composite", "resampled"),
        ("kidney_hd95", "resampled"),
    ):
        assert pd.isna(value(table, metric, grid)["published"])


# -- forms ----------------------------------------------------------------------------------------


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """Title to rows of cells."""
    found: dict[str, list[list[str]]] = {}
    title = ""
    for line in text.splitlines():
        if line.startswith("## "):
            title = line[3:]
        elif line.startswith("|"):
            cells = line.replace(r"\|", "/").strip("|").split("|")
            found.setdefault(title, []).append([cell.strip() for cell in cells])
    return found


def test_markdown_by_hand():
    methods = rows(PUBLISHED)
    table = tables.cross_validation(all_grids(*FOLDS), methods)
    found = markdown_tables(tables.markdown(table, methods))
    assert list(found) == [*tables.grid_titles().values(), "Further metrics, native grid"]
    ours = ["Title of one (`one`)", "0.850 (0.071)", "0.600 (0.566)", "0.725 (0.318)", "4", "2"]
    native = found[tables.grid_titles()["native"]]
    assert native[0] == ["Method", "Kidney Dice", "Tumour Dice", "Composite", "Cases", "Folds"]
    assert native[1] == ["---"] * 6
    assert native[2] == ours
    assert native[3][1:] == ["0.970", "0.837", "0.904", "", ""]
    assert len(native) == 3 + len(KITS19_REACHED)
    resampled = found[tables.grid_titles()["resampled"]][2]
    assert resampled[1:4] == [
        "0.850 (0.071) [0.966 (0.010)]",  # 0.9655, to three digits
        "0.600 (0.566) [0.752]",
        "0.725 (0.318)",
    ]
    assert found[tables.grid_titles()["ceiling"]][2] == ours
    further = dict(zip(*found["Further metrics, native grid"][::2], strict=True))
    assert further["Kidney HD95, mm"] == "6.000 (1.414), n=3"
    assert further["Tumours found"] == "0.333, n=3"  # the other fold has no tumour
    assert (further["Tumour HD95, mm"], further["Cases"]) == ("-", "4")


def test_markdown_columns_are_balanced_whatever_the_title():
    methods = {"one": Row(family="tiny", title="A | B", published=None)}
    table = tables.cross_validation(all_grids(*FOLDS), methods)
    for form in markdown_tables(tables.markdown(table, methods)).values():
        assert len({len(line) for line in form}) == 1


def test_notes_say_which_sd_and_which_surface_dice():
    notes = tables.general_notes(KITS19)
    assert "SD over the folds' means, with n - 1" in notes
    assert "by voxels counts boundary voxels" in notes and "by areas it is DeepMind's" in notes
    assert "by voxels" in OTHERS["kidney_surface_dice"]
    assert "by areas" in OTHERS["kidney_surface_area_dice"]


def test_notes_say_what_regions_are_where_they_are_several_tissues():
    together = 'with n - 1). "Kidney" is kidney and tumour together, as in the official metric. '
    assert together + "Two empty masks score 1" in tables.general_notes(KITS19)
    alone = Labels({1: "parenchyma"}, (replace(KITS19.regions[0], labels=(1,)),))
    assert "with n - 1). Two empty masks score 1" in tables.general_notes(alone)


def test_titles_are_escaped_on_a_page():
    assert "<h3>A &lt;b&gt; &amp; c</h3>" in tables.html_page({"A <b> & c": pd.DataFrame()}, "")


def test_figures_of_another_scheme_are_not_quoted():
    methods = rows(PUBLISHED | {"labels": "kits23"})
    table = tables.cross_validation(all_grids(*FOLDS), methods)
    assert table["published"].isna().all()
    text = tables.markdown(table, methods)
    assert "Published figures" not in text and "[" not in text.partition("Further")[0]


def test_notes_say_where_published_figures_come_from():
    table = tables.cross_validation(all_grids(*FOLDS), rows(PUBLISHED))
    assert f"one: {PUBLISHED['where']}." in tables.markdown(table, rows(PUBLISHED))
    table = tables.cross_validation(all_grids(*FOLDS), rows())
    assert "Published figures" not in tables.markdown(table, rows())


def test_notes_say_which_methods_watched_cases_of_the_training_folds():
    methods = rows(None, "one", "two", "three")
    for name in ("one", "three"):
        methods[name] = methods[name].model_copy(update={"validated": True})
    scores = all_grids(*({**row, "method": name} for name in methods for row in FOLDS))
    table = tables.cross_validation(scores, methods)
    for text in (tables.markdown(table, methods), tables.latex(table, methods)):
        assert "of one, three were steered by cases split off the training folds" in text
    assert "split off" not in tables.markdown(table, rows(None, *methods))


def test_notes_say_whose_plans_follow_all_cases():
    methods = rows(None, "one", "two")
    methods["two"] = methods["two"].model_copy(update={"planned_on_these": True})
    assert "nnU-Net's plans for two follow sizes" in tables.notes_on(methods)
    assert "nnU-Net" not in tables.notes_on(rows(None, "one", "two"))


def test_located_shares_are_a_metric_where_a_method_has_them():
    located = [
        {**row, "located_kidney": share, "located_tumour": tumour}
        for row, share, tumour in zip(
            FOLDS, (1.0, 0.9, 0.8, 1.0), (1.0, 0.5, math.nan, math.nan), strict=True
        )
    ]
    other = [{**row, "method": "two"} for row in FOLDS]
    methods = rows(None, "one", "two")
    table = tables.cross_validation(all_grids(*located, *other), methods)
    kidney, tumour = (value(table, f"located_{part}") for part in ("kidney", "tumour"))
    assert kidney["mean"] == pytest.approx((0.9 + 1) / 2)
    assert (tumour["mean"], tumour["folds"], tumour["cases"]) == (pytest.approx(0.75), 1, 2)
    assert math.isnan(value(table, "located_kidney", method="two")["mean"])
    found = markdown_tables(tables.markdown(table, methods))["Further metrics, native grid"]
    column = found[0].index("Kidney within the located regions")
    assert [line[column] for line in found[2:4]] == ["0.950 (0.071)", "-"]


def of_families(**families: str) -> tuple[pd.DataFrame, dict[str, Row]]:
    """A table of methods of these families, all with the same scores."""
    methods = {
        name: Row(family=family, title=name, published=None) for name, family in families.items()
    }
    scores = all_grids(*({**row, "method": name} for name in methods for row in FOLDS))
    return tables.cross_validation(scores, methods), methods


def test_a_family_of_several_rows_has_tables_of_its_own_beside_other_families():
    table, methods = of_families(one="a", two="b", three="a")
    found = markdown_tables(tables.markdown(table, methods))
    native, resampled, _ = tables.grid_titles().values()
    assert list(found) == [
        *tables.grid_titles().values(),
        "Further metrics, native grid",
        f"a: {native}",
        f"a: {resampled}",
    ]
    for title in (native, resampled):
        everything, own = found[title], found[f"a: {title}"]
        # Header and line, then the family's rows and none of what others reach.
        assert own == [*everything[:2], everything[2], everything[4]]
        assert [line[0] for line in own[2:]] == ["one (`one`)", "three (`three`)"]


def test_a_family_that_works_on_native_voxels_has_no_table_of_another_grid():
    methods = of_families(one="a", two="b", three="a")[1]
    scores = all_grids(*({**row, "method": name} for name in methods for row in FOLDS))
    scores = scores[(scores["grid"] == "native") | (scores["method"] == "two")]
    native, resampled, _ = tables.grid_titles().values()
    found = tables.forms(tables.cross_validation(scores, methods), methods)
    assert resampled in found and f"a: {native}" in found
    assert f"a: {resampled}" not in found


@pytest.mark.parametrize("families", [{"one": "a", "two": "a"}, {"one": "a", "two": "b"}])
def test_a_single_family_and_families_of_one_row_have_no_tables_of_their_own(families):
    assert len(tables.forms(*of_families(**families))) == len(tables.GRIDS) + 1


def test_what_others_reach_stands_below_with_the_mean_as_composite():
    table = tables.forms(*of_families(one="a"))[tables.grid_titles()["native"]]
    below = table.iloc[1:, :4].to_numpy().tolist()
    assert [
        "nnU-Net, open leaderboard 2020, test set, published",
        "0.979",
        "0.854",
        "0.917",
    ] in below
    assert len(below) == len(KITS19_REACHED) == 4
    for _, *figures in below:
        kidney, tumour, composite = map(float, figures)
        assert composite == pytest.approx((kidney + tumour) / 2, abs=0.001)


def test_latex_columns_are_balanced():
    methods = rows(PUBLISHED, "one", "two_b")
    other = [{**row, "method": "two_b"} for row in FOLDS]
    table = tables.cross_validation(all_grids(*FOLDS, *other), methods)
    text = tables.latex(table, methods)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(tables.GRIDS) + 1
    for part in text.split(r"\begin{tabular}")[1:]:
        columns, _, rest = part.removeprefix("{").partition("}")
        body = rest.split(r"\end{tabular}")[0]
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= 3
        for line in lines:
            separators = line.count("&") - line.count(r"\&")
            assert separators == len(columns) - 1
    assert r"two\_b" in text
    assert r"Table 1 \& text, 50 \% of\_it" in text


def test_latex_special_characters_are_escaped():
    given = r"a\b {c} ~d ^e &%_#$ `f`"
    expected = r"a\textbackslash{}b \{c\} \textasciitilde{}d \textasciicircum{}e \&\%\_\#\$ f"
    assert tables._escaped(given) == expected


def test_all_four_files_are_written(tmp_path):
    methods = rows({**PUBLISHED, "where": "Table <1> & text"})
    paths = []
    for number in (0, 1):
        part = [row for row in FOLDS if row["fold"] == number]
        paths.append(tmp_path / f"{number}.csv")
        all_grids(*part).to_csv(paths[-1], index=False)
    tables.write_tables(paths, methods, tmp_path / "tables")
    folder = tmp_path / "tables"
    assert sorted(path.name for path in folder.iterdir()) == [
        "cv.csv",
        "cv.html",
        "cv.md",
        "cv.tex",
    ]
    stored = pd.read_csv(folder / "cv.csv")
    assert list(stored.columns) == tables.COLUMNS
    assert value(stored, "kidney_dice")["mean"] == pytest.approx(0.85)
    page = (folder / "cv.html").read_text()
    assert page.count("<table") == len(tables.GRIDS) + 1
    assert "Table &lt;1&gt; &amp; text" in page
    expected = tables.cross_validation(all_grids(*FOLDS), methods)
    assert (folder / "cv.md").read_text() == tables.markdown(expected, methods)
    assert (folder / "cv.tex").read_text() == tables.latex(expected, methods)


@pytest.mark.parametrize("wrong", ["none", "one is missing", "one twice", "another"])
def test_methods_that_were_scored_on_other_cases_make_no_table(tmp_path, wrong):
    other = {
        "none": (),
        "one is missing": FOLDS[:-1],
        "one twice": (*FOLDS, FOLDS[0]),
        "another": (*FOLDS[:-1], {**FOLDS[-1], "case": "case_9"}),
    }
    two = [{**row, "method": "two"} for row in other[wrong]]
    path = tmp_path / "scores.csv"
    all_grids(*FOLDS, *two).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"^two/scores\.csv: .*run the workflow again$"):
        tables.write_tables([path], rows(None, "one", "two"), tmp_path / "tables")
    assert not (tmp_path / "tables").exists()


def test_files_repeat_to_the_byte(tmp_path):
    path = tmp_path / "scores.csv"
    all_grids(*FOLDS).to_csv(path, index=False)
    for output in ("one", "two"):
        tables.write_tables([path], rows(PUBLISHED), tmp_path / output)
    for name in ("cv.csv", "cv.md", "cv.tex", "cv.html"):
        first, second = (tmp_path / output / name for output in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
