"""`snakemake --report` has the page, the tables and the figures of a study, with captions."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
import yaml
from clone import ROOT, Clone

from isoclock.modules import modules_of

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.timeout(300)]


@pytest.mark.test_all
def test_the_report_has_tables_and_figures_with_captions(studied: Clone) -> None:
    studied.snakemake("--report", "report.zip")
    with zipfile.ZipFile(studied.folder / "report.zip") as archive:
        page = archive.read("report/report.html").decode()
        names = {Path(name).name for name in archive.namelist()}
    figures = {path.name for path in (studied.folder / "results/report/demo/figures").glob("*.svg")}
    assert figures
    assert names >= {"comparison.csv", "cells.csv", *figures}
    captions = re.findall(r'"caption": "<p>(.*?)</p>', page)
    assert len(set(captions)) == 3 + len(figures)
    assert "the page has its caption" not in page, "each figure has its own"


def test_every_figure_has_a_caption_and_every_caption_a_figure() -> None:
    text = (ROOT / "workflow/report/figure.rst").read_text()
    names = {name.replace("_", "-") for name in modules_of("report.figures")}
    assert set(re.findall(r"startswith\('([\w-]+)-'\)", text)) == names


def test_the_catalog_names_what_is_there() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    _, profile = usage["mandatory-flags"]["flags"].split()
    assert (ROOT / profile / "profile.yaml").is_file()
    for name in ("params/README.md", "environment.yml"):
        assert f"`{name}`" in usage["mandatory-flags"]["desc"]
        assert (ROOT / name).is_file()
    assert usage["software-stack-deployment"]["report"] is True
