"""The site: that what is generated covers the program, and that pages name what there is."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from renal import __main__ as command_line

from .conftest import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The generated pages by name."""
    sys.path.insert(0, str(DOCS))
    try:
        import reference
    finally:
        sys.path.remove(str(DOCS))
    folder = tmp_path_factory.mktemp("reference")
    reference.write_pages(folder)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_every_command_is_described(reference):
    told = reference["command-line.md"]
    steps = {step.__name__ for step in command_line.STEPS}
    headings = set(re.findall(r"^## (\w+)$", told, re.M))
    assert steps | {"run", "doctor", "segment", "archive", "verify"} <= headings
    assert "--segmentations" in told.partition("## archive")[2].partition("##")[0]


def test_every_key_of_config_yaml_is_described(reference):
    def keys(values):
        for key, value in values.items():
            yield key
            if isinstance(value, dict):
                yield from keys(value)

    given = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    for key in keys(given):
        assert f"| `{key}` |" in reference["config.md"]


def test_links_between_sections_lead_somewhere(reference):
    for name in ("config.md", "recipe.md"):
        headings = {h.lower() for h in re.findall(r"^## (.+)$", reference[name], re.M)}
        linked = set(re.findall(r"\]\(#([a-z0-9]+)\)", reference[name]))
        assert linked and linked <= headings
    assert "mapping of [Stage](#stage)" in reference["recipe.md"]
    assert "`name: tversky`" in reference["recipe.md"]


@pytest.mark.parametrize("text", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs"])
def test_pages_name_pages_that_are_there(text):
    path = REPOSITORY / text
    for page in [path] if path.is_file() else sorted(DOCS.glob("*.md")):
        named = set(re.findall(r"`docs/([a-z0-9-]+\.md)`", page.read_text()))
        assert {name for name in named if not (DOCS / name).exists()} == set(), page.name
        linked = set(re.findall(r"\]\(([^):#]+)\)", page.read_text()))
        assert {name for name in linked if not (page.parent / name).exists()} == set(), page.name


def test_the_readme_is_one_page_whose_pages_are_links():
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) < 150
    assert not re.search(r"`[\w/-]+\.md`", text)
    linked = {name.removeprefix("docs/") for name in re.findall(r"\]\(([^):#]+)\)", text)}
    assert linked >= {page.name for page in DOCS.glob("*.md")} - {"index.md"}
    assert linked >= {"CITATION.cff", "CONTRIBUTING.md", "SECURITY.md"}


def test_the_site_lists_every_page():
    """Sphinx says so, too, where it is installed."""
    listed = re.findall(r"^([a-z0-9-]+)$", (DOCS / "index.md").read_text(), re.M)
    assert sorted(listed) == sorted(p.stem for p in DOCS.glob("*.md") if p.stem != "index")


def test_the_docs_lock_pins_what_the_extra_names():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lock = (DOCS / "requirements.lock").read_text().lower()
    for name in project["optional-dependencies"]["docs"]:
        assert re.search(rf"^{name}==", lock, re.M)


def test_a_fresh_clone_has_every_folder_that_the_readme_names():
    """And nothing in it is ignored by git, or it would be missing."""
    named = set(
        re.findall(r"(?:^|[`\s(])([a-z]+)/[a-z<*`]", (REPOSITORY / "README.md").read_text())
    )
    named -= {"tables", "segmentation", "pictures"}  # of results
    listed = ["git", "-C", str(REPOSITORY), "ls-files"]
    files = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines()
    tracked = {path.partition("/")[0] for path in files if "/" in path}
    assert {"data", "demos", "docs", "results", "workflow"} <= named
    assert named <= tracked
    for folder in ("data", "results"):
        assert f"{folder}/README.md" in files
