import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from results_tree import cell

import documents
from isoclock.records.document import read, write
from isoclock.records.record import StudentRecord
from isoclock.report import build_report
from isoclock.report.html import inline_svg

SECTIONS = [
    "verdict", "main", "comparison", "figures", "cost", "break-even", "published", "overlays", "classes", "protocol", "audit",
    "cells", "left-out",
]  # fmt: skip


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def built(study_tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    page = build_report(study_tree.root, study_tree.cells, "demo", out)
    return out, page.read_text(encoding="utf-8")


def test_all_files_are_written(built):
    names = sorted(path.name for path in built[0].iterdir())
    assert names == [
        "break-even.csv", "break-even.md", "cells.csv", "comparison.csv", "comparison.md", "comparison.tex", "dvc",
        "figures", "published-rows.csv", "published-rows.md", "report.html",
    ]  # fmt: skip


def test_throttling_during_a_profile_is_one_line(built):
    (line,) = [line for line in built[1].splitlines() if "lowered its clock" in line]
    assert "mgd (power limit 34% of the time)." in line


def test_all_sections_and_holes_are_on_the_page(built):
    tags = Tags(built[1]).found
    assert [attributes["id"] for tag, attributes in tags if tag == "section"] == SECTIONS
    assert "55 of 60" in built[1]
    assert "loss is nan at iteration 73" in built[1]
    assert "2 of 57 cells deviate from their plan" in built[1]
    assert "mean class accuracy %" in built[1]


def test_the_page_is_self_contained(built):
    for tag, attributes in Tags(built[1]).found:
        for name in ("src", "href", "xlink:href", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert not re.search(r"url\((?!#)", built[1])
    assert "@import" not in built[1]


def test_ids_are_unique(built):
    ids = [attributes["id"] for _, attributes in Tags(built[1]).found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_same_results_give_the_same_page(built, study_tree, tmp_path):
    build_report(study_tree.root, study_tree.cells, "demo", tmp_path)
    for name in (
        "report.html",
        "comparison.md",
        "comparison.tex",
        "comparison.csv",
        "cells.csv",
        "break-even.csv",
        "break-even.md",
    ):
        assert (tmp_path / name).read_bytes() == (built[0] / name).read_bytes()


def test_text_from_results_is_escaped(tree, tmp_path):
    tree.profile("kd")
    tree.student(cell(), status="diverged", message="<script>alert(1)</script>")
    page = build_report(tree.root, tree.cells, "a<b>", tmp_path).read_text()
    assert "<script>alert" not in page
    assert "a&lt;b&gt;" in page


def test_the_cost_with_other_losses_is_a_row_of_its_own(tree, tmp_path):
    other = {"loss_precision": "fp32", "ratio": 3.21, "low": 3.1, "high": 3.3}
    for method, found in (("kd", other), ("none", None)):
        profile = documents.profile(method, pair="demo", precision="bf16", sensitivity=found)
        write(tree.layout.profile("streets", "demo", method), profile)
    page = build_report(tree.root, [cell(), cell("none")], "demo", tmp_path).read_text()
    row = page[page.index("kd, losses in float32") :].partition("</tr>")[0]
    assert "3.21" in row
    assert "3.10" in row
    assert "none, losses" not in page
    assert "No plan uses this cost" in page
    for method in ("kd", "none"):
        tree.profile(method)
    assert "losses in float32" not in build_report(tree.root, [cell(), cell("none")], "demo", tmp_path).read_text()


def test_a_grid_without_results_gives_a_report(tmp_path):
    page = build_report(tmp_path / "results", [cell(), cell("none")], "demo", tmp_path / "out").read_text()
    assert "0 of 2" in page
    assert "No overlays were found" in page
    with pytest.raises(ValueError, match="at least one cell"):
        build_report(tmp_path, [], "demo", tmp_path)


def test_overlays_beyond_the_limit_are_counted(built, study_tree, tmp_path, monkeypatch):
    monkeypatch.setattr("isoclock.report.overlays.MAX_OVERLAY_BYTES", 10_000)
    page = build_report(study_tree.root, study_tree.cells, "demo", tmp_path).read_text()
    shown, all_of_them = (sum(tag == "img" for tag, _ in Tags(text).found) for text in (page, built[1]))
    assert 0 < shown < all_of_them
    assert f"{all_of_them - shown} more overlays were left out" in page


def test_the_page_says_what_the_grid_is_when_and_from_which_commit(tree, tmp_path):
    tree.scored(cell())
    record = tree.layout.student(cell()) / "record.json"
    found = read(record, StudentRecord, "student")
    write(record, documents.changed(found, environment=found.environment | {"commit": "1234567-dirty"}))
    page = build_report(tree.root, tree.cells, "demo", tmp_path, about="What <it> is.").read_text()
    assert "What &lt;it&gt; is." in page
    assert "trained 2023-11-14 22:13 to 2023-11-14 22:" in page
    assert "commit 1234567-dirty" in page


def test_cells_link_to_their_folders_only_from_below_the_results(tree, tmp_path):
    tree.scored(cell())
    for out, links in ((tree.layout.report("demo"), True), (tmp_path / "elsewhere", False)):
        text = build_report(tree.root, tree.cells, "demo", out).read_text()
        assert (f'href="../../student/{cell().path}/"' in text) is links


def test_inline_svg_uses_theme_colours_and_unique_ids():
    inside = '<g id="a" style="fill: #1c2024"/><use href="#a" clip-path="url(#a)"/>'
    svg = f'<?xml?><svg width="72pt" height="9pt">{inside}</svg>'
    text = inline_svg(svg, "p", 'a "title"')
    assert text.startswith('<svg role="img" style="max-width:96px" aria-label="a &#34;title&#34;">')
    assert 'id="p-a"' in text
    assert 'href="#p-a" clip-path="url(#p-a)"' in text
    assert "fill: var(--ink)" in text


def test_report_needs_no_torch_and_printing_no_matplotlib():
    code = (
        "import sys, isoclock.report; assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules);"
        "import isoclock.report.html, isoclock.report.figures; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
