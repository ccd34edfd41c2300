"""The report page in headless Chromium, without network."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from isoclock.report import build_report

pytestmark = pytest.mark.browser

_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("/usr/bin/chromium", "chromium", "chromium-browser"))), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium on this machine, but CI needs it: apt-get install chromium")
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("results_tree", Path(__file__).parents[1] / "report/results_tree.py")
    results_tree = sys.modules.get("results_tree") or importlib.util.module_from_spec(spec)
    if not hasattr(results_tree, "whole_study"):
        spec.loader.exec_module(results_tree)
    folder = tmp_path_factory.mktemp("page")
    tree = results_tree.whole_study(folder / "results", budgets=("iteration-400", "compute-400"))
    return build_report(tree.root, tree.cells, "demo", folder / "out")


@pytest.fixture(scope="module")
def browser():
    executable = chromium()
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser, report):
    opened = browser.new_page(viewport={"width": 1300, "height": 900}, color_scheme="light")
    opened.errors, opened.requests = [], []
    opened.on("console", lambda message: opened.errors.append(message.text))
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.goto(report.as_uri())
    yield opened
    opened.close()


def column(page, table, number):
    return page.eval_on_selector_all(f"{table} tbody tr", f"rows => rows.map(row => row.cells[{number}].textContent)")


def test_page_opens_without_errors_and_network_requests(page, report):
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith("data:")] == [report.as_uri()]


def test_all_images_and_figures_have_a_size(page):
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.complete && image.naturalWidth)")
    assert len(widths) == 8
    assert all(width > 100 for width in widths)
    boxes = page.eval_on_selector_all("figure > svg", "all => all.map(svg => svg.getBoundingClientRect().height)")
    assert len(boxes) == 3
    assert all(height > 100 for height in boxes)


def test_table_sorts_by_value_both_ways_and_holes_stay_last(page):
    titles = page.eval_on_selector_all("table.comparison th", "heads => heads.map(head => head.textContent)")
    number = titles.index("mIoU %")
    head = page.locator("table.comparison th button").nth(number)
    for direction in ("ascending", "descending"):
        head.click()
        assert page.locator("table.comparison th").nth(number).get_attribute("aria-sort") == direction
        texts = column(page, "table.comparison", number)
        assert texts[-1] == "–"
        values = [float(text.split()[0]) for text in texts[:-1]]
        assert len(values) == 9
        assert values == sorted(values, reverse=direction == "descending")
    page.locator("table.comparison th button").first.click()
    methods = column(page, "table.comparison", 0)
    assert methods == sorted(methods)
    assert page.errors == []


def test_marks_are_visible_without_horizontal_scrolling(page):
    right = page.eval_on_selector("table.comparison th:last-child", "head => head.getBoundingClientRect().right")
    assert right <= 1300


def test_theme_follows_the_system_and_the_button(page):
    def paper():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert paper() == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert paper() == "rgb(21, 24, 28)"
    page.click("#theme")
    assert paper() == "rgb(255, 255, 255)"


def test_narrow_screens_scroll_tables_not_the_page(page):
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
