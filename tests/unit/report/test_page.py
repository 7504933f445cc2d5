"""The page as a file: what it holds, what is escaped, and how large it may be."""

import json
import re
from html.parser import HTMLParser

import pytest

from renal.errors import InputError
from renal.report import page
from renal.report.viewed import TRUTH

from .helpers import make_results

EVIL = '</script><script>alert("x")</script>'
CASES = ["case_<b>&'\"", "case_b", "case_c"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("page"), {"one": EVIL, "two": "Two"}, CASES)


@pytest.fixture(scope="module")
def written(results):
    return results.write_page().read_text()


class Reader(HTMLParser):
    """Text of cells, and scripts, of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.within, self.cells, self.scripts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.within.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        if self.within[-1:] == ["script"]:
            self.scripts[-1] += data
        elif {"td", "th"} & set(self.within):
            self.cells[-1] += data


def test_names_of_rows_and_cases_are_text(written):
    assert EVIL not in written
    found = Reader(written)
    assert len(found.scripts) == 2  # the data and what shows them
    assert CASES[0] in found.cells
    assert any(cell.startswith(EVIL) for cell in found.cells)
    data = json.loads(found.scripts[0])
    assert data["lines"]["one"]["title"] == EVIL
    assert CASES[0] in [case["name"] for case in data["cases"]]


def test_rows_stay_in_their_order_and_every_case_has_an_outline_of_each(written):
    data = json.loads(Reader(written).scripts[0])
    assert list(data["lines"]) == [TRUTH, "one", "two"]
    assert all(set(case["outlines"]) == {TRUTH, "one", "two"} for case in data["cases"])
    assert data["cases"][0]["dice"] == {
        "one": "Kidney 0.800, Tumour 0.800",
        "two": "Kidney 0.900, Tumour 0.850",
    }


def test_best_median_and_worst_come_first(written):
    told = [(case["name"], case["why"]) for case in json.loads(Reader(written).scripts[0])["cases"]]
    assert told == [
        (CASES[0], "best of all rows, best of one, best of two"),
        (CASES[1], "median of all rows, median of one, median of two"),
        (CASES[2], "worst of all rows, worst of one, worst of two"),
    ]


def test_needs_no_other_file(written):
    sources = re.findall(r'(?:src|href)="([^"]*)"', written)
    assert all(source.startswith(("#", "data:")) for source in sources)


def test_tables_and_what_must_be_known_of_them_are_there(written):
    for title in ("Native grid, official KiTS19 Dice", "Comparison: Kidney Dice"):
        assert f"<caption>{title}</caption>" in written
    assert "whose models may have been trained on these cases: one, two" in written


def test_pictures_are_within_and_name_their_vectors(results):
    picture = results.folder / "tables/compare_values.png"
    picture.write_bytes(b"picture")
    picture.with_suffix(".svg").write_text("<svg/>")
    curves = results.folder / "one/pictures/curves_whole.png"
    curves.parent.mkdir()
    curves.write_bytes(b"curves")
    text = results.write_page((picture, curves)).read_text()
    assert 'src="data:image/png;base64,cGljdHVyZQ=="' in text
    assert 'href="../tables/compare_values.svg"' in text
    assert 'alt="one: training curves, stage whole"' in text
    results.write_page()


def test_one_row_has_a_page_too(tmp_path):
    text = make_results(tmp_path, {"one": "One"}, CASES).write_page().read_text()
    cases = json.loads(Reader(text).scripts[0])["cases"]
    assert [case["why"] for case in cases] == ["best of one", "median of one", "worst of one"]
    assert "Comparison:" not in text


def test_what_would_be_too_large_is_left_out_and_told(results, monkeypatch, caplog):
    whole = results.write_page().stat().st_size
    monkeypatch.setattr(page, "MOST_BYTES", whole - 100)
    path = results.write_page()
    assert path.stat().st_size < whole
    assert len(json.loads(Reader(path.read_text()).scripts[0])["cases"]) == 2
    assert "shows 2 of 3 cases; more would be too large" in caplog.text


def test_tables_and_pictures_that_are_too_large_alone_are_told(results, monkeypatch, caplog):
    """Then no case is shown, and the page is nevertheless larger than it should be."""
    path = results.write_page()
    assert "alone" not in caplog.text
    monkeypatch.setattr(page, "MOST_BYTES", 1000)
    results.write_page()
    assert path.stat().st_size > 1000
    assert json.loads(Reader(path.read_text()).scripts[0])["cases"] == []
    assert "MB of tables and pictures alone" in caplog.text
    assert "name fewer methods in config.yaml" in caplog.text


def test_no_more_cases_than_people_look_at(results, monkeypatch):
    monkeypatch.setattr(page, "MOST_CASES", 1)
    assert len(json.loads(Reader(results.write_page().read_text()).scripts[0])["cases"]) == 1


def test_a_case_that_is_not_among_the_checked_is_refused(tmp_path):
    found = make_results(tmp_path, {"one": "One"}, CASES)
    del found.cases["case_b"]
    with pytest.raises(InputError, match="case_b: is not among the checked cases"):
        found.write_page()
