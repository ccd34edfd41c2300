"""A table is of one version of the protocol: cells of another are holes in it, and a table of an earlier one says so."""

import csv
import io

import pytest
from results_tree import cell

import documents
from isoclock.budget.audit import audit
from isoclock.protocol import VERSION
from isoclock.records.document import write
from isoclock.report import build_report, tables
from isoclock.report.audit_table import print_audit
from isoclock.report.break_even import break_even
from isoclock.report.collect import collect
from isoclock.report.differences import differences
from isoclock.report.summary import summarise

NOTE = f"Protocol version 1: not to be compared with results of version {VERSION}."


def study_of(tree):
    return collect(tree.root, tree.cells)


def grid(tree, versions):
    """Teacher, two methods, two budgets, one seed; methods under the version given for each."""
    tree.teacher()
    for method, version in versions.items():
        tree.version = version
        tree.profile(method)
        for budget in ("iteration-400", "compute-400"):
            tree.scored(cell(method, budget))
    tree.version = VERSION


@pytest.fixture
def mixed(tree):
    grid(tree, {"kd": VERSION, "mgd": 1})
    return tree


@pytest.fixture
def old(tree):
    tree.version = 1
    grid(tree, {"kd": 1, "mgd": 1})
    tree.version = 1
    tree.teacher()
    return tree


def test_a_cell_of_another_version_is_a_hole_that_says_why(mixed):
    study = study_of(mixed)
    kd, _, mgd, _ = study.rows
    assert (kd.status, kd.marks) == ("finished", ())
    assert (mgd.status, mgd.marks) == ("missing", ("protocol version 1",))
    assert f"trained under version 1 of the protocol, and this table is of version {VERSION}" in mgd.message
    assert f"isoclock student {mgd.path}" in mgd.message
    of_version_1 = (
        mgd.miou,
        mgd.spent_s,
        mgd.spent_anchor_steps,
        mgd.planned_anchor_steps,
        mgd.iterations_planned,
        mgd.cost_ratio,
    )
    assert of_version_1 == (None,) * 6
    assert {row.protocol_version for row in study.rows} == {study.version} == {VERSION}


def test_no_number_of_another_version_is_in_any_table(mixed):
    study = study_of(mixed)
    summaries = summarise(study.rows)
    mgd = next(s for s in summaries if s.first.method == "mgd")
    assert mgd.marks == ("protocol version 1", "1 of 1 missing")
    assert [mgd.mean(name) for name in ("iterations_done", "planned_s", "planned_anchor_steps")] == [None] * 3
    assert differences(study, summaries) == []
    assert set(study.profiles) == {("streets", "demo", "kd")}
    assert {row.cell.method for row in study.audit} == {"kd"}
    even = break_even(summaries, "streets", "demo")
    assert [row.why_not for row in even.rows] == ["not scored", "not scored"]
    assert NOTE not in tables.to_markdown(study, summaries, []), "the others are of this version"


def test_scores_of_another_version_than_the_run_are_a_hole(mixed):
    of = cell("kd", "iteration-400")
    write(mixed.layout.evaluation(of) / "scores.json", documents.scores(of, protocol_version=1))
    row = study_of(mixed).rows[0]
    assert (row.status, row.miou) == ("missing", None)
    assert "scored under version 1 of the protocol" in row.message
    assert "isoclock evaluate" in row.message


def test_teachers_scores_of_another_version_are_passed_over(mixed):
    assert study_of(mixed).rows[0].teacher_miou == 0.545
    mixed.version = 1
    mixed.teacher()
    assert study_of(mixed).rows[0].teacher_miou is None


def test_what_is_planned_under_another_version_is_not_what_will_run(tree):
    tree.profile("kd")
    tree.scored(cell("kd"))
    tree.version = 1
    tree.expect(cell("mgd"))
    _, untrained = study_of(tree).rows
    assert (untrained.status, untrained.planned_anchor_steps, untrained.marks) == ("missing", None, ())


def test_cells_of_one_earlier_version_are_a_table_of_it_that_says_so(old, tmp_path, capsys):
    study = study_of(old)
    assert study.version == 1
    assert {(row.status, row.protocol_version, row.teacher_miou) for row in study.rows} == {("finished", 1, 0.545)}
    out = tmp_path / "report"
    page = build_report(old.root, old.cells, "demo", out).read_text(encoding="utf-8")
    for name in ("comparison.md", "comparison.tex", "break-even.md", "published-rows.md"):
        assert NOTE in (out / name).read_text(encoding="utf-8"), name
    assert f'<p class="status">{NOTE}</p>' in page
    figures = page[page.index('<section id="figures">') : page.index('<section id="cost">')]
    assert figures.count(f"{NOTE}</figcaption>") == figures.count("<figure>") > 0
    assert "this study, protocol version 1" in (out / "published-rows.csv").read_text()
    for name in ("cells.csv", "comparison.csv", "break-even.csv"):
        lines = list(csv.DictReader(io.StringIO((out / name).read_text())))
        assert lines
        assert {line["protocol_version"] for line in lines} == {"1"}, name
    tables.print_comparison(study, summarise(study.rows))
    assert NOTE in " ".join(capsys.readouterr().out.split())


def test_profiles_of_this_version_are_not_used_for_cells_of_an_earlier_one(old):
    old.version = VERSION
    old.profile("kd")
    study = study_of(old)
    assert study.version == 1
    assert {row.method: row.cost_ratio for row in study.rows} == {"kd": 1.62, "mgd": 2.94}, "of the cells' own plans"
    assert {row.method: row.cost_low for row in study.rows} == {"kd": None, "mgd": pytest.approx(0.985 * 2.94)}
    assert set(study.profiles) == {("streets", "demo", "mgd")}


def test_figures_of_an_earlier_version_say_so(old, tmp_path):
    build_report(old.root, old.cells, "demo", tmp_path / "old")
    figure = "figures/cost-shares-streets-demo.svg"
    before = (tmp_path / "old" / figure).read_text()
    old.version = VERSION
    grid(old, {"kd": VERSION, "mgd": VERSION})
    build_report(old.root, old.cells[:4], "demo", tmp_path / "new")
    now = (tmp_path / "new" / figure).read_text()
    assert NOTE in before
    assert "Protocol version" not in now


def test_the_audit_on_the_terminal_has_a_table_for_each_version(mixed, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_audit(audit(mixed.cells, mixed.layout), len(mixed.cells))
    output = capsys.readouterr().out
    assert output.count("streets/demo on cpu") == 2
    assert output.index(NOTE) < output.index("mgd/") < output.rindex("streets/demo on cpu") < output.index("kd/")
