"""The worst cases of all rows: a panel for the truth and one for each row, and which cases."""

import pytest
from matplotlib import pyplot as plt

from renal.errors import InputError
from renal.labels import KITS19
from renal.report import gallery
from renal.report.gallery import draw_gallery

from .helpers import assert_shows_something, coloured, make_results


@pytest.fixture
def results(tmp_path):
    return make_results(tmp_path, {"one": "One", "two": "Two"}, ["a", "b", "c"])


def draw(found, output):
    draw_gallery(found.scores, found.segmentations, found.cases, output)


def test_the_gallery_shows_something_in_pixels_and_as_vectors(results):
    draw(results, results.folder / "drawn")
    path = results.folder / "drawn/compare_worst.png"
    assert_shows_something(path)
    assert coloured(path, KITS19.region("tumour").colour)
    assert "<svg" in path.with_suffix(".svg").read_text()


def test_the_same_gallery_has_the_same_bytes(results):
    for folder in ("first", "second"):
        draw(results, results.folder / folder)
    for path in (results.folder / "first").iterdir():
        assert path.read_bytes() == (results.folder / "second" / path.name).read_bytes()


def test_the_worst_case_comes_first_and_every_row_has_its_panel(results, monkeypatch):
    titles = []

    def kept(figure, path):
        titles.append([panel.get_title() for panel in figure.axes])
        outlined = [len(panel.collections) for panel in figure.axes]
        assert outlined == [2, 0, 2, 1, 1, 1, 2, 2, 2]  # regions that truth and rows mark
        plt.close(figure)

    monkeypatch.setattr(gallery, "save", kept)
    draw(results, results.folder)
    assert titles[0] == [
        *("c\ntruth", "one\n0.10 0.10", "two\n0.20 0.15"),
        *("b\ntruth", "one\n0.50 0.50", "two\n0.60 0.55"),
        *("a\ntruth", "one\n0.80 0.80", "two\n0.90 0.85"),
    ]


def test_many_rows_go_on_in_the_next_line(results, monkeypatch):
    monkeypatch.setattr(gallery, "COLUMNS", 2)
    draw(results, results.folder)
    assert_shows_something(results.folder / "compare_worst.png")


def test_a_case_that_is_not_among_the_checked_is_refused(results):
    del results.cases["c"]
    with pytest.raises(InputError, match="c: is not among the checked cases"):
        draw(results, results.folder)


def test_a_row_without_segmentations_is_refused(results):
    with pytest.raises(InputError, match="two: name its scores and its segmentations"):
        draw_gallery(results.scores, {"one": results.folder}, results.cases, results.folder)
