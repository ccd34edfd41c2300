"""Sphinx builds the site from the Markdown files of the repository, where they are: `make site`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

from isoclock import __version__  # noqa: E402  (found by the line above)

project = "isoclock"
author = "The isoclock authors"
copyright = author
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
root_doc = "docs/site/index"
include_patterns = ["*.md", "docs/*.md", "docs/results/*.md", "docs/site/*.md", "examples/**/*.md", "params/README.md"]

myst_enable_extensions = ["fieldlist"]
myst_heading_anchors = 4  # links to a heading, as on the pages of the repository
default_role = "code"  # docstrings write names in single backticks
autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "isoclock"
html_copy_source = False
html_show_sourcelink = False


def _write_start_page(app: Any, _problem: Exception | None) -> None:
    """index.html of the site leads to the first page, whose path follows that of its file."""
    target = f"{root_doc}.html"
    head = f'<meta charset="utf-8"><meta http-equiv="refresh" content="0; url={target}">'
    page = f'<!doctype html>{head}<a href="{target}">isoclock</a>\n'
    (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("build-finished", _write_start_page)
