"""The table at the end of `make test-faults`: what was asked, how many cases ran, and what was found. A pytest plugin.

A test names its target with `@pytest.mark.target("...")`, one of TARGETS. Several tests may have the same target, and a test
several targets. `record_property("cases", 200)` says how many cases a test has run (1 if it does not say), and
`record_property("found", "at most 0.4 s")` what it has measured. Of these tests and those of tests/faults, the ones marked
`slow` are skipped unless ISOCLOCK_SLOW=1. `--targets` runs tests/faults and every test with a target, and prints the table.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

TARGETS = (
    "1,000 mutated documents: no traceback, no hang, no other value accepted",
    "1,000 mutated params: no traceback, no hang, no other value accepted",
    "50 kills during training: no losses",
    "10 kills in every other verb: no losses",
    "20 kills in the first sync: no losses",
    "200 lease races without kernel locks: one holder each",
    "read-only tree, in every verb: one line",
    "full disk, in every verb: one line",
    "moved study, in every verb: one line",
    "ledger of a million lines, read by streaming: under 2 s and 200 MB",
    "plan --dry of 2,000 cells with known costs: 2 s and 150 MB",
)
FAULTS = Path(__file__).parent / "faults"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--targets", action="store_true", help="run tests/faults and tests with a target; print a table")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = []
    for item in items:
        names = [str(mark.args[0]) for mark in item.iter_markers("target")]
        if unknown := set(names) - set(TARGETS):
            raise pytest.UsageError(f"{item.nodeid}: unknown target {unknown.pop()!r}; choose from {__file__}, TARGETS")
        item.user_properties += [
            ("target", name) for name in names
        ]  # reports have these, also those of other processes
        is_fault = bool(names) or FAULTS in item.path.parents
        if is_fault and item.get_closest_marker("slow") and os.environ.get("ISOCLOCK_SLOW") != "1":
            item.add_marker(pytest.mark.skip(reason="takes minutes: ISOCLOCK_SLOW=1, or make test-faults"))
        if not is_fault:
            others.append(item)
    if config.getoption("--targets"):
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]


def table(reports: Iterable[pytest.TestReport]) -> dict[str, tuple[int, str]]:
    """(cases, what was found) of each target, from the reports of setups, tests and teardowns."""
    cases = dict.fromkeys(TARGETS, 0)
    found: dict[str, dict[str, None]] = {name: {} for name in TARGETS}
    skipped: dict[str, str] = {}
    for report in reports:
        properties = [(str(key), value) for key, value in report.user_properties]
        for target in (str(value) for key, value in properties if key == "target"):
            if report.failed:
                found[target][f"FAILED: {report.nodeid}"] = None
            elif report.skipped:
                skipped[target] = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
            elif report.when == "call":
                cases[target] += sum([int(value) for key, value in properties if key == "cases"] or [1])
                found[target] |= {str(value): None for key, value in properties if key == "found"}
    rows = {}
    for name in TARGETS:
        ran = cases[name] or found[name]
        missing = f"not run ({skipped[name].removeprefix('Skipped: ')})" if name in skipped else "not run"
        rows[name] = cases[name], "; ".join(found[name]) or "as asked" if ran else missing
    return rows


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("--targets"):
        return
    reports = [one for kind in terminalreporter.stats.values() for one in kind if isinstance(one, pytest.TestReport)]
    terminalreporter.section("targets", sep="-")
    width = max(map(len, TARGETS))
    terminalreporter.line(f"{'asked':<{width}}  {'cases':>6}  found")
    for name, (count, text) in table(reports).items():
        terminalreporter.line(f"{name:<{width}}  {count:>6}  {text}")
