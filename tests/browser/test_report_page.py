"""The report page in headless Chromium, without network, at the widths of a phone, a tablet and a laptop."""

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


WIDTHS = (390, 768, 1440)
FIRST_FIGURE = "#main .panel"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("results_tree", Path(__file__).parents[1] / "report/results_tree.py")
    results_tree = sys.modules.get("results_tree") or importlib.util.module_from_spec(spec)
    if not hasattr(results_tree, "whole_study"):
        spec.loader.exec_module(results_tree)
    tree = results_tree.whole_study(
        tmp_path_factory.mktemp("page") / "results", budgets=("iteration-400", "compute-400")
    )
    tree.index()
    tree.teacher_overlays()
    of = tree.cells[0].path
    out = tree.layout.report("demo")
    return build_report(
        tree.root,
        tree.cells,
        "demo",
        out,
        about="A " + "very " * 30 + "long description.",
        run_urls={of: "http://x/#/1"},
    )


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
    opened = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
    opened.errors, opened.requests = [], []
    opened.on("console", lambda message: opened.errors.append(message.text))
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.goto(report.as_uri())
    yield opened
    assert opened.errors == []
    opened.close()


def column(page, table, number):
    return page.eval_on_selector_all(
        f"{table} tbody tr", f"rows => rows.map(row => row.cells[{number}].innerText.trim())"
    )


def titles(page, table):
    heads = page.eval_on_selector_all(f"{table} thead th", "heads => heads.map(head => head.textContent)")
    return heads


def shown(page, selector):
    return page.eval_on_selector_all(selector, "all => all.filter(one => one.checkVisibility()).length")


def test_page_makes_no_network_requests(page, report):
    assert [url for url in page.requests if not url.startswith("data:")] == [report.as_uri()]


# Everything that is visible lies within the window, unless it can be scrolled to.
OUTSIDE = """() => [...document.querySelectorAll("body *")].filter(one => {
  if (!one.checkVisibility() || one.closest(".scroll, .drawing, nav, svg")) return false;
  const box = one.getBoundingClientRect();
  return box.width > 0 && (box.left < -0.5 || box.right > innerWidth + 0.5);
}).map(one => one.outerHTML.slice(0, 120))"""
# No text is wider or higher than its box.
CLIPPED = """() => [...document.querySelectorAll(
  "h1, h2, h3, h4, p, .name, .value, .badge, th, td, caption span, figcaption, dd, label, .legend li, summary"
)].filter(one => one.checkVisibility() && getComputedStyle(one).display !== "inline"
    && (one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0 || one.scrollHeight > one.clientHeight + 4
        && one.clientHeight > 0))
  .map(one => one.outerHTML.slice(0, 160))"""
# What covers something else in the first figure.
OVERLAPPING = """() => [...document.querySelectorAll("#main .row")].filter(row => {
  const [name, plot, values] = [".name", ".plot", ".values"].map(one => row.querySelector(one).getBoundingClientRect());
  const marks = [...row.querySelectorAll("circle")].map(one => one.getBoundingClientRect());
  return plot.right > values.left || !(name.right <= plot.left || name.bottom <= plot.top + 1) || plot.width < 100
    || marks.some(mark => mark.left < plot.left - 6 || mark.right > plot.right + 6);
}).map(row => row.innerText)"""
UNSTUCK = """() => [...document.querySelectorAll(".scroll")].filter(box => box.checkVisibility()).filter(box => {
  box.scrollLeft = 1e6;
  const row = box.querySelector("tbody tr").cells[0].getBoundingClientRect(), outer = box.getBoundingClientRect();
  const fine = Math.abs(row.left - outer.left) < 2 && row.width < 0.6 * outer.width;
  box.scrollLeft = 0;
  return !fine;
}).map(box => box.getAttribute("aria-label"))"""


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_clipped_and_the_page_does_not_scroll_sideways(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for found in (OUTSIDE, CLIPPED, OVERLAPPING, UNSTUCK):
        assert page.evaluate(found) == []
    if folder := os.environ.get("ISOCLOCK_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"report-{width}.png"), full_page=True)


def test_a_laptop_shows_the_whole_comparison_with_its_marks_as_badges(page):
    inside = "box => box.scrollWidth <= box.clientWidth"
    assert page.eval_on_selector("#comparison .scroll", inside)
    assert not any("marks" in title for title in titles(page, "table.comparison"))
    badges = page.eval_on_selector_all(
        "table.comparison tbody th",
        "all => all.map(one => [...one.querySelectorAll('.badge')].map(b => b.textContent))",
    )
    assert ["off-budget"] in badges
    assert ["1 of 3 diverged"] in badges


def test_the_verdict_comes_first_then_the_figure_then_the_comparison(page):
    order = page.eval_on_selector_all("main > section", "all => all.map(one => one.id)")
    assert order[:3] == ["verdict", "main", "comparison"]
    assert order.index("protocol") > order.index("figures")
    assert page.locator(".verdict").inner_text().count("At equal") == 2


def test_the_figure_and_the_table_state_the_same_numbers(page):
    table = titles(page, "table.comparison")
    budget, miou = table.index("budget"), table.index("mIoU %")
    of_table = {
        (method.split()[0], budget.partition("-")[0], text)
        for method, budget, text in zip(
            *(column(page, "table.comparison", number) for number in (0, budget, miou)), strict=True
        )
        if text != "–"
    }
    of_figure = page.eval_on_selector_all(
        "#main .value:not(.bad)",
        """all => all.map(one => [one.closest(".row").querySelector(".name").firstChild.textContent.trim(),
            one.classList.contains("compute") ? "compute" : "iteration", one.textContent])""",
    )
    assert len(of_table) == 9
    assert of_table == set(map(tuple, of_figure))


def test_a_mark_tells_its_cell_cost_n_and_marks_and_a_click_adds_links(page, report):
    mark = page.locator("#main circle").first
    mark.hover()
    text = page.locator("#tip").inner_text()
    assert text.splitlines()[0] == "none, iteration-400"
    assert all(word in text for word in ("mIoU 4", "cost ratio 1.00", "n 3 of 3", "marks: none"))
    mark.click()
    links = page.eval_on_selector_all("#tip a", "all => all.map(one => [one.textContent, one.getAttribute('href')])")
    assert links[:4] == [
        ["seed 0", "#cell-0"],
        ["run", "../../student/streets/demo/none/iteration-400/0/"],
        ["scores", "../../evaluate/streets/demo/none/iteration-400/0/"],
        ["MLflow", "http://x/#/1"],
    ]
    assert all((report.parent / address).is_dir() for name, address in links if name in ("run", "scores"))
    page.click("#tip a >> nth=0")
    assert page.locator("#cell-0").is_visible(), "the list of cells is opened"


def test_choices_hide_marks_and_rows_of_the_comparison(page):
    before = shown(page, "#main circle"), shown(page, "table.comparison tbody tr")
    assert before == (9, 10)
    page.check("#main input[value=compute]")
    assert (shown(page, "#main circle"), shown(page, "table.comparison tbody tr")) == (4, 5)
    assert shown(page, "#main .seed") == 11
    page.check("#main input[value=off]")
    assert shown(page, "#main .seed") == 0


def test_overlays_switch_and_have_each_picture_once(page):
    sources = page.eval_on_selector_all("img", "all => all.map(image => image.src)")
    widths = page.eval_on_selector_all("img", "all => all.map(image => image.complete && image.naturalWidth)")
    alts = page.eval_on_selector_all("img", "all => all.map(image => image.alt)")
    assert len(sources) == len(set(alts)) == 2 * (3 + 2 * 4), "each of both images; fitnet did not run"
    assert len(set(sources)) == len(sources) - 1, "both images have the same label"
    assert all(width == 128 for width in widths)
    for view, each in (("photo", 1), ("label", 1), ("teacher", 1), ("student", 1), ("errors", 2)):
        page.check(f"#overlays input[value={view}]")
        assert shown(page, "#overlays img") == 2 * each, view
    page.select_option("#overlays select", "demo/cwd")
    assert all("cwd" in text for text in page.locator(".layer.on[data-view=errors] figcaption").all_inner_texts())
    legend = page.locator(".legend li").all_inner_texts()
    assert legend[0] == "road"
    assert len(legend) == 10


def test_figures_have_a_size_and_a_text_for_readers_who_do_not_see_them(page):
    boxes = page.eval_on_selector_all(".drawing > svg", "all => all.map(svg => svg.getBoundingClientRect().height)")
    assert len(boxes) == 2
    assert all(height > 100 for height in boxes)
    labels = page.eval_on_selector_all(".drawing > svg", "all => all.map(svg => svg.getAttribute('aria-label'))")
    assert all(len(label) > 80 for label in labels)
    assert all(
        page.eval_on_selector_all("#main circle", "all => all.map(one => one.getAttribute('aria-label').length > 40)")
    )


def test_table_sorts_by_value_both_ways_and_holes_stay_last(page):
    number = titles(page, "table.comparison").index("mIoU %")
    head = page.locator("table.comparison thead th button").nth(number)
    mark = "button => getComputedStyle(button, '::after').content"
    assert "↕" in head.evaluate(mark)
    for direction, sign in (("ascending", "↑"), ("descending", "↓")):
        head.click()
        assert page.locator("table.comparison thead th").nth(number).get_attribute("aria-sort") == direction
        assert sign in head.evaluate(mark)
        texts = column(page, "table.comparison", number)
        assert texts[-1] == "–"
        values = [float(text.split()[0]) for text in texts[:-1]]
        assert len(values) == 9
        assert values == sorted(values, reverse=direction == "descending")
    page.locator("table.comparison thead th button").first.click()
    methods = [text.split()[0] for text in column(page, "table.comparison", 0)]
    assert methods == sorted(methods)


def test_theme_follows_the_system_and_the_button_and_paper_is_white(page):
    def paper():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert paper() == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert paper() == "rgb(21, 24, 28)"
    page.emulate_media(color_scheme="dark", media="print")
    assert paper() == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert shown(page, "#overlays img") == 2 * (3 + 4), "all but the errors"
    page.emulate_media(color_scheme="dark", media="screen")
    page.click("#theme")
    assert paper() == "rgb(255, 255, 255)"
