"""The site is built from the pages of the repository, without a network and without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    (command,) = re.findall(r"^\t@python (-m sphinx .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = command.replace("build/doctrees", str(out / "doctrees")).replace("build/site", str(out / "html")).split()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # a broken link is a warning, and a warning is an error
    return out / "html"


def test_every_page_is_in_it(site: Path) -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/results/*.md")]
    missing = [page for page in pages if not (site / page.relative_to(ROOT).with_suffix(".html")).is_file()]
    assert missing == []


def test_the_start_page_leads_to_the_first_page(site: Path) -> None:
    (target,) = re.findall(r"url=([^\"]+)", (site / "index.html").read_text())
    assert "README.html" in (site / target).read_text()


def test_the_api_has_what_isoclock_methods_offers(site: Path) -> None:
    from isoclock import methods

    page = (site / "docs/site/api.html").read_text()
    names = [name for name in methods.__all__ if not name.isupper()]
    assert [name for name in names if f'id="isoclock.methods.{name}"' not in page] == []


def test_nothing_is_loaded_from_a_network(site: Path) -> None:
    for page in (site / "README.html", site / "docs/site/api.html"):
        loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?:[^"]+)"', page.read_text())
        assert loaded == []
