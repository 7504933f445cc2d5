"""How Sphinx makes the site: `make docs`. The pages are Markdown; what can be generated is."""

import re
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "workflow")]

import reference  # noqa: E402

project = "renal"
author = "The renal authors"
copyright = author
version = release = installed("renal")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
default_role = "code"
# Docstrings give types in words such as "shape", which are no references.
suppress_warnings = ["ref.python"]
html_theme = "furo"
html_title = "renal"
html_static_path = ["pictures"]
exclude_patterns = ["site"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_param = False
# Checked by `make docs-links`, which needs the network.
linkcheck_anchors = False

PAGE = re.compile(r"`docs/([a-z0-9-]+\.md)`")


def link_pages(app: Any, page: str, source: list[str]) -> None:
    """Make links of pages that a text names, as in `docs/data.md`; a dead one ends the build."""
    source[0] = PAGE.sub(r"[docs/\1](/\1)", source[0])


def keep_bars(*described: Any) -> None:
    """Show the bars of formulas, |A|, which reStructuredText takes for substitutions."""
    lines = described[-1]
    lines[:] = [line.replace("|", r"\|") for line in lines]


def setup(app: Any) -> None:
    """Write the generated pages before any is read."""
    reference.write_pages(HERE / "reference")
    app.connect("source-read", link_pages)
    app.connect("autodoc-process-docstring", keep_bars)
