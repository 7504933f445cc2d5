"""The page in a real browser, opened from disk: no error, and everything that it promises."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from .helpers import make_results

EVIL = '<img src=x onerror="document.title=1">'
CASES = ["case_<i>", "case_b", "case_c"]
# Enough to tell pictures apart: how many values there are, and a sum that knows their places.
STATE = """(() => {
  const { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  let sum = 0;
  data.forEach((value, place) => { sum = (sum * 31 + value + place) % 4294967291; });
  return { kinds: new Set(data).size, sum };
})()"""


def find_chromium() -> str:
    """Path of a browser; without one tests are skipped, or fail with RENAL_NEEDS_BROWSER set."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    give_up = pytest.fail if "RENAL_NEEDS_BROWSER" in os.environ else pytest.skip
    give_up("no chromium to look at the page with")


@pytest.mark.parametrize("needed", [True, False])
def test_a_missing_browser_is_a_fault_where_it_is_needed(monkeypatch, needed):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("RENAL_NEEDS_BROWSER", raising=False)
    if needed:
        monkeypatch.setenv("RENAL_NEEDS_BROWSER", "1")
    outcome = pytest.fail if needed else pytest.skip
    with pytest.raises(outcome.Exception, match="no chromium"):
        find_chromium()


@pytest.fixture(scope="module")
def browser():
    chromium = find_chromium()
    with sync_playwright() as running:
        options = ["--disable-gpu", "--no-sandbox"]  # as where there is no GPU, and in containers
        browser = running.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    titles = {"one": EVIL, "two": "Two", "other_program": "Another program"}
    return make_results(tmp_path_factory.mktemp("page"), titles, CASES).write_page()


@pytest.fixture
def page(browser, path):
    """The page, loaded; a test fails where the browser told of an error."""
    faults = []
    page = browser.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("requestfailed", lambda request: faults.append(request.url[:200]))
    page.goto(path.as_uri())
    page.wait_for_function("document.getElementById('canvas').hasAttribute('aria-label')")
    yield page
    assert faults == []
    assert page.title().startswith("Results")
    page.close()


def test_the_canvas_shows_a_ct(page):
    assert page.evaluate(STATE)["kinds"] > 20
    assert page.get_by_role("img", name="case_<i>, slice").count() == 1


def test_outlines_are_switched_on_and_off(page):
    before = page.evaluate(STATE)
    seen = {before["sum"]}
    for name in ("Another program", "Two"):
        page.get_by_role("checkbox", name=name).check()
        seen.add(page.evaluate(STATE)["sum"])
    page.get_by_role("checkbox", name="Tumour", exact=True).uncheck()
    seen.add(page.evaluate(STATE)["sum"])
    assert len(seen) == 4
    page.get_by_role("checkbox", name="Tumour", exact=True).check()
    for name in ("Another program", "Two"):
        page.get_by_role("checkbox", name=name).uncheck()
    assert page.evaluate(STATE) == before


def test_the_colour_of_an_outline_is_on_the_canvas_where_it_is_on(page):
    told = page.evaluate("data.lines.two.colour")
    red, green, blue = (int(told[i : i + 2], 16) for i in (1, 3, 5))
    count = f"""(() => {{
      const {{ width, height }} = canvas;
      const {{ data }} = canvas.getContext('2d').getImageData(0, 0, width, height);
      let count = 0;
      for (let i = 0; i < data.length; i += 4) {{
        count += data[i] === {red} && data[i + 1] === {green} && data[i + 2] === {blue};
      }}
      return count;
    }})()"""
    assert page.evaluate(count) == 0
    page.get_by_role("checkbox", name="Two").check()
    assert page.evaluate(count) > 100


def test_slices_are_scrolled_by_keys_wheel_and_slider(page):
    slider = page.get_by_role("slider", name="Slice")
    start = page.evaluate(STATE)["sum"]
    canvas = page.locator("#canvas")
    canvas.focus()
    page.keyboard.press("Home")
    assert slider.input_value() == "0"
    assert page.evaluate(STATE)["sum"] != start
    page.keyboard.press("ArrowDown")
    assert slider.get_attribute("aria-valuetext").startswith("2 of the CT (2 of ")
    assert ", slice 2 of the CT" in canvas.get_attribute("aria-label")
    page.keyboard.press("End")
    last = slider.get_attribute("max")
    assert slider.input_value() == last
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == last
    canvas.hover()
    page.mouse.wheel(0, -100)
    page.wait_for_function(f"document.getElementById('slice').value === '{int(last) - 1}'")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert slider.input_value() == str(int(last) - 2)


def test_a_slice_is_read_out_once(page):
    """By the slider as its value, or else by the output, which is a live region by itself."""
    slider = page.get_by_role("slider", name="Slice", exact=True)
    output = page.get_by_role("status")
    assert output.get_attribute("aria-live") is None
    slider.focus()
    assert output.get_attribute("aria-live") == "off"
    page.keyboard.press("ArrowRight")
    assert output.inner_text() == slider.get_attribute("aria-valuetext")
    page.locator("#canvas").focus()
    assert output.get_attribute("aria-live") is None


def test_another_case_is_shown(page):
    before = page.evaluate(STATE)["sum"]
    page.get_by_role("combobox", name="Case").select_option("case_b")
    page.wait_for_function("document.getElementById('canvas').ariaLabel.startsWith('case_b')")
    assert page.evaluate(STATE)["sum"] != before
    assert page.get_by_text("Kidney 0.500, Tumour 0.500").count() == 1


def test_tables_are_sorted_by_a_click_or_a_key(page):
    table = page.get_by_role("table", name="Every case")
    firsts = table.get_by_role("rowheader")
    head = table.get_by_role("columnheader", name="two")
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert firsts.all_inner_texts() == ["case_c", "case_b", "case_<i>"]
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert firsts.all_inner_texts() == ["case_<i>", "case_b", "case_c"]
    table.get_by_role("columnheader", name="Case").get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "none"


@pytest.mark.parametrize(
    ("cells", "ordered"),
    [
        (["10", "9", "-", "0.5"], ["0.5", "9", "10", "-"]),
        (["0.91 [0.9, 1.0]", "-0.10", "+0.200"], ["-0.10", "+0.200", "0.91 [0.9, 1.0]"]),
        (["0.0300", "", "< 0.0001"], ["< 0.0001", "0.0300", ""]),
        (["row10", "row9", "-"], ["row9", "row10", "-"]),
    ],
)
def test_numbers_are_sorted_as_numbers_and_what_is_missing_comes_last(page, cells, ordered):
    sort = """(cells) => {
      const table = document.createElement('table');
      for (const cell of cells) table.createTBody().append(document.createElement('tr'));
      const body = table.createTBody();
      table.replaceChildren(body);
      for (const cell of cells) body.insertRow().insertCell().textContent = cell;
      sortBy(table, 0, 1);
      return Array.from(body.rows, (row) => row.cells[0].textContent);
    }"""
    assert page.evaluate(sort, cells) == ordered


def test_everything_that_acts_can_be_reached_by_the_tabulator(page):
    """And has a name that is read out."""
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    switches = {"line--truth", "line-one", "line-two", "line-other_program", "region-kidney"}
    assert {"canvas", "slice", "case", "BUTTON", *switches} <= reached
    unnamed = """Array.from(document.querySelectorAll('button, input, select, img, [role]'))
      .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.alt || e.labels?.length
                       || e.getAttribute('aria-labelledby'))).length"""
    assert page.evaluate(unnamed) == 0
