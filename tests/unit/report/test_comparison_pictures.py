"""Pictures of the comparison: all are drawn, the same every time, also of rows with gaps."""

import shutil

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from renal.report import comparison_pictures
from renal.report.comparison import write_comparison
from renal.report.comparison_pictures import BETTER, draw_comparison
from tests.unit.report.helpers import assert_shows_something, picture
from tests.unit.report.test_comparison import METHODS, NAN, pair, row

NAMES = [f"compare_{name}" for name in ("values", "tests", "places", "blobs", "scatter", "size")]
COMPARED = ("kidney_dice", "tumour_dice", "composite", "tumour_hd95")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Two rows on twelve cases, one of which is better in all of them."""
    cases = [f"case_{number:05d}" for number in range(12)]
    values = np.linspace(0.3, 0.9, len(cases))
    lines = [
        (metric, case, name, value - loss)
        for metric in COMPARED
        for name, loss in (("one", 0.0), ("two", 0.2))
        for case, value in zip(cases, values, strict=True)
    ]
    found = {
        "pairs": pd.DataFrame([pair("one", "two", metric=metric) for metric in COMPARED]),
        "rows": pd.DataFrame(
            [
                row(name, place, metric=m)
                for m in COMPARED
                for place, name in enumerate(["one", "two"], 1)
            ]
        ),
        "schemes": pd.DataFrame(
            [(metric, "mean", "test", 1.0) for metric in COMPARED],
            columns=["metric", "scheme", "other", "kendall_tau"],
        ),
        "places": pd.DataFrame(
            [
                (metric, scheme, name, place, share)
                for metric in COMPARED
                for scheme in ("mean", "test")
                for name, shares in (("one", (0.9, 0.1)), ("two", (0.1, 0.9)))
                for place, share in enumerate(shares, 1)
            ],
            columns=["metric", "scheme", "row", "place", "share"],
        ),
        "cases": pd.DataFrame(lines, columns=["task", "case", "alg_name", "value"]),
    }
    folder = tmp_path_factory.mktemp("tables")
    write_comparison(found, METHODS, folder)
    listed = pd.DataFrame({"case": cases, "spacing_z_mm": 3.0, "tumour_ml": range(len(cases))})
    listed.to_csv(folder / "cases.csv", index=False)
    draw_comparison(folder, folder / "cases.csv", folder / "drawn")
    return folder


def test_every_picture_shows_something_in_pixels_and_as_vectors(tables):
    assert {path.stem for path in (tables / "drawn").iterdir()} == set(NAMES)
    for name in NAMES:
        assert_shows_something(tables / f"drawn/{name}.png", least=150)
        assert "<svg" in (tables / f"drawn/{name}.svg").read_text()


def test_the_better_row_is_marked(tables):
    pixels = picture(tables / "drawn/compare_tests.png")[..., :3]
    colour = np.array([int(BETTER[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    assert (np.abs(pixels - colour).max(axis=-1) < 0.01).any()


@pytest.mark.parametrize("dependent", [True, False])
def test_rows_that_depend_on_each_other_are_marked(dependent):
    """On both sides of the diagonal, whatever the test says; the legend tells what it means."""
    lines = [
        pair("one", "two", metric="composite", better="one", dependent=dependent),
        pair("one", "three", metric="composite", better="", dependent=dependent),
        pair("two", "three", metric="composite", better="three", dependent=False),
    ]
    names = {"composite": ["one", "two", "three"]}
    figure = comparison_pictures._tests(pd.DataFrame(lines), names, {"composite": "Composite"})
    cells = [text.get_text() for text in figure.axes[0].texts]
    legend = figure.get_supxlabel()
    plt.close(figure)
    star = "*" if dependent else ""
    minus = "\N{MINUS SIGN}"
    assert cells == ["", f"+{star}", star, f"{minus}{star}", "", minus, star, "+", ""]
    assert ("* the two share a trained stage, a member or a file" in legend) == dependent


def test_the_same_picture_has_the_same_bytes(tables):
    draw_comparison(tables, tables / "cases.csv", tables / "again")
    for path in (tables / "drawn").iterdir():
        assert path.read_bytes() == (tables / "again" / path.name).read_bytes()


def test_a_region_that_too_few_rows_look_for_is_left_out(tables, tmp_path):
    for name, column in (
        ("compare_cases", "task"),
        ("compare_rows", "metric"),
        ("compare_places", "metric"),
        ("compare", "metric"),
    ):
        table = pd.read_csv(tables / f"{name}.csv")
        table[table[column] == "kidney_dice"].to_csv(tmp_path / f"{name}.csv", index=False)
    listed = pd.read_csv(tables / "cases.csv").rename(columns={"tumour_ml": "kidney_ml"})
    listed.to_csv(tmp_path / "cases.csv", index=False)
    draw_comparison(tmp_path, tmp_path / "cases.csv", tmp_path)
    assert_shows_something(tmp_path / "compare_values.png", least=150)


def test_a_metric_without_places_by_mean_is_drawn(tables, tmp_path):
    shutil.copytree(tables, tmp_path, dirs_exist_ok=True)
    rows, places = (pd.read_csv(tables / f"compare_{name}.csv") for name in ("rows", "places"))
    ranks = ["rank_mean", "rank_mean_low", "rank_mean_high"]
    rows.loc[rows["metric"] == "tumour_hd95", ranks] = NAN
    rows.to_csv(tmp_path / "compare_rows.csv", index=False)
    by_mean = (places["metric"] == "tumour_hd95") & (places["scheme"] == "mean")
    places[~by_mean].to_csv(tmp_path / "compare_places.csv", index=False)
    draw_comparison(tmp_path, tmp_path / "cases.csv", tmp_path / "drawn")
    for name in ("blobs", "places"):
        assert_shows_something(tmp_path / f"drawn/compare_{name}.png", least=150)


def test_every_compared_metric_has_a_panel(tables, monkeypatch):
    titles = {}

    def kept(figure, path):
        titles[path.stem] = [panel.get_title() for panel in figure.axes if panel.axison]
        plt.close(figure)

    monkeypatch.setattr(comparison_pictures, "save", kept)
    draw_comparison(tables, tables / "cases.csv", tables / "drawn")
    for name in ("compare_values", "compare_tests", "compare_places", "compare_blobs"):
        assert titles[name] == ["Kidney Dice", "Tumour Dice", "Composite", "Tumour HD95, mm"]


def test_rows_that_are_not_shown_are_told():
    assert comparison_pictures._shown(6, list("abcdef")) == ""
    assert comparison_pictures._shown(6, list("abcdefg")) == ", first 6 of 7 rows"


def test_blobs_are_as_large_as_the_shares_of_places(tables, monkeypatch):
    drawn = []

    def kept(figure, path):
        if path.name == "compare_blobs.png":
            drawn.extend(
                (collection.get_offsets().tolist(), collection.get_sizes().tolist())
                for collection in figure.axes[0].collections
            )
        plt.close(figure)

    monkeypatch.setattr(comparison_pictures, "save", kept)
    draw_comparison(tables, tables / "cases.csv", tables / "drawn")
    blob = comparison_pictures.BLOB_POINTS
    assert drawn == [
        ([[0.0, 1.0], [0.0, 2.0]], pytest.approx([0.9 * blob, 0.1 * blob])),
        ([[1.0, 1.0], [1.0, 2.0]], pytest.approx([0.1 * blob, 0.9 * blob])),
    ]
