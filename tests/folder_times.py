"""Where a test run's time goes: seconds by folder, printed at its end. A pytest plugin that tests/conftest.py registers."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any

import pytest


def seconds_by_folder(reports: list[tuple[str, float]]) -> dict[str, tuple[float, int]]:
    """Seconds (of setup, test and teardown) and number of tests by folder of tests/, the longest first.

    `reports` holds (node id, seconds), several for each test.
    """
    seconds: dict[str, float] = defaultdict(float)
    tests: dict[str, set[str]] = defaultdict(set)
    for node, spent_s in reports:
        path = PurePosixPath(node.partition("::")[0])
        folder = str(path.parent) if path.parent.name else "."
        seconds[folder] += spent_s
        tests[folder].add(node)
    return {folder: (seconds[folder], len(tests[folder])) for folder in sorted(seconds, key=lambda f: -seconds[f])}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """With several workers, the sum over folders is larger than the time that the run took."""
    reports = [
        (report.nodeid, report.duration)
        for found in terminalreporter.stats.values()
        for report in found
        if isinstance(report, pytest.TestReport)
    ]
    if not reports:
        return
    terminalreporter.section("time by folder", sep="-")
    for folder, (spent_s, count) in seconds_by_folder(reports).items():
        terminalreporter.line(f"{spent_s:8.1f} s  {count:5d} tests  {folder}")
