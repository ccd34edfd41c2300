"""How the workflow starts: stamps, and user errors in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isoclock.dag.start import open_targets
from isoclock.dag.targets import GridTargets
from tiny_study import TinyStudy


def test_opening_writes_the_stamps(opened: Callable[..., GridTargets], in_the_study: TinyStudy) -> None:
    opened()
    stamps = {
        str(path.relative_to(in_the_study.folder)) for path in in_the_study.folder.rglob("results/stamps/**/*.json")
    }
    assert "results/stamps/student/streets/tiny/kd.json" in stamps
    assert len(stamps) == 17


def test_stamps_stay_while_a_snakemake_works_here(
    opened: Callable[..., GridTargets], in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    opened()
    root = in_the_study.folder / "results/stamps"
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.json")}
    lock = in_the_study.folder / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    opened()
    assert capsys.readouterr().err == "", "the own jobs of a Snakemake open the targets too"
    in_the_study.edit("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 2.0}")
    missing = root / "evaluate/streets.json"
    missing.unlink()
    opened()
    assert (
        "isoclock: results/stamps/student/streets/tiny/kd.json: params/ or code changed while"
        in capsys.readouterr().err
    )
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*.json")}
    assert after.keys() == before.keys(), "another grid's are written"
    assert {path for path in after if after[path] != before[path]} == {missing}
    lock.unlink()
    opened()
    assert (root / "student/streets/tiny/kd.json").stat().st_mtime_ns > before[root / "student/streets/tiny/kd.json"]


@pytest.mark.usefixtures("in_the_study")
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"grids": "toy"}, "--config: unknown key 'grids'; choose from grid, method"),
        ({"grid": "toi"}, "unknown grid 'toi'; choose from toy"),
        ({}, "unknown grid 'demo'; choose from toy"),
        ({"grid": 3}, "unknown grid '3'"),
        ({"grid": "toy", "method": "dkd"}, "unknown method 'dkd'"),
    ],
)
def test_a_user_error_is_one_line_and_status_2(
    config: dict[str, object], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        open_targets(config)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("isoclock: ")
    assert expected in line


def test_a_method_that_is_not_in_the_grid(
    opened: Callable[..., GridTargets], in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    in_the_study.edit("grids/toy.yaml", "cwd, mgd]", "cwd]")
    with pytest.raises(SystemExit):
        opened(method="mgd")
    assert "--config method=mgd: grid toy has no cell of this method" in capsys.readouterr().err


def test_every_problem_in_params_is_printed(
    opened: Callable[..., GridTargets], in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    in_the_study.edit("grids/toy.yaml", "cwd, mgd]", "cwd, dgm]")
    in_the_study.edit("budgets.yaml", "yardstick: kd", "yardstick: dk")
    with pytest.raises(SystemExit) as caught:
        opened()
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_stamps_that_cannot_be_written(in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    (in_the_study.folder / "results").write_text("")
    with pytest.raises(SystemExit) as caught:
        open_targets({"grid": "toy"})
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("isoclock: results")
    assert line.endswith("a file is where a folder is needed: rename or remove it")
