"""`make bench-methods` runs, resumes where it was stopped, and discovers new methods."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from isoclock.methods import REFERENCE, TUNED, cards

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BOTH = [name for name, card in cards().items() if {REFERENCE, TUNED} <= set(card.implementations)]
TIMED = ("bpkd", "ifvd")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "methods.py"), "--tiny", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def bench_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("bench") / "methods.json"
    done = run("--only", *TIMED, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.fixture(scope="module")
def rows() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_method_rows", BENCHMARKS / "method_rows.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


def devices(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text())
    assert document["tiny"] is True, "nobody shall take these for results"
    return dict(document["devices"])


def test_a_row_has_times_memory_and_share(bench_run: tuple[Path, str]) -> None:
    ((kind, device),) = devices(bench_run[0]).items()
    assert device["machine"]["device_kind"] == kind
    assert device["step"]["student_s"] > 0
    assert device["rows"]
    for row in device["rows"].values():
        assert row["method"] in TIMED
        for name in (REFERENCE, TUNED):
            times = row["times_s"][name]
            assert 0 < min(times["samples"]) <= times["median"] <= max(times["samples"])
            assert times["n"] == len(times["samples"]) == row["ratio"]["n"] == 2
            assert row["memory_mib"][name] > 0
            assert 0 < row["share"][name] < 1
        assert 0 < row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
        assert row["wins_or_ties"] == (row["ratio"]["low"] > 1 / 1.03)


def test_the_table_names_the_method_and_what_is_unmeasured(bench_run: tuple[Path, str]) -> None:
    assert all(name in bench_run[1] for name in TIMED)
    assert "GPU: unmeasured" in bench_run[1] or any(kind.startswith("cuda") for kind in devices(bench_run[0]))


def test_it_resumes_where_it_was_stopped(bench_run: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "methods.json"
    document = json.loads(bench_run[0].read_text())
    (device,) = document["devices"].values()
    kept, changed = device["rows"]
    for key in (kept, changed):
        device["rows"][key]["unix"] = 1
    device["rows"][changed]["code"] = "of yesterday"
    out.write_text(json.dumps(document))
    assert run("--only", *TIMED, "--out", str(out)).returncode == 0
    (device,) = devices(out).values()
    assert device["rows"][kept]["unix"] == 1
    assert device["rows"][changed]["unix"] > 1


def test_an_unknown_name_is_reported(tmp_path: Path) -> None:
    done = run("--only", "nope", "--out", str(tmp_path / "methods.json"))
    assert done.returncode == 2
    assert "unknown method 'nope'" in done.stderr
    assert not (tmp_path / "methods.json").exists()


def test_settings_are_valid_params(rows: ModuleType) -> None:
    for method, settings in rows.SETTINGS.items():
        for setting in settings.values():
            for params in (setting.params, *setting.by_classes.values()):
                terms = None if setting.terms is None else frozenset(setting.terms)
                assert cards()[method].problems(params, active_terms=terms) == []


def test_every_method_with_both_is_measured(rows: ModuleType) -> None:
    groups = list(rows.rows_of(BOTH, rows.FULL, None, False, False))
    assert {row.method for group in groups for row in group} == set(BOTH)
    keys = [row.key for group in groups for row in group]
    assert len(keys) == len(set(keys))
    (plain,) = rows.rows_of(["a-new-method"], rows.FULL, None, False, False)
    assert [(row.name, row.params, row.classes) for row in plain] == [("", {}, 19), ("", {}, 150)]


def test_an_edit_of_a_method_changes_only_its_digest(
    rows: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"one": "from isoclock.methods.shared import x", "two": "X = 1", "shared": "x = 1"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(rows, "METHODS", tmp_path)
    before = rows.code_of("one"), rows.code_of("two")
    (tmp_path / "shared.py").write_text("x = 2  # another")
    assert (rows.code_of("one") != before[0], rows.code_of("two") == before[1]) == (True, True)
    (tmp_path / "two.py").write_text("X = 1  # the same, with a comment")
    assert rows.code_of("two") == before[1]
