"""A token in the environment or in params/ reaches no log, ledger, record, MLflow store or report (fault 16).

The whole way through Snakemake with one: tests/workflow/test_rerun.py. That the UI listens on loopback only:
tests/tracking/test_ui.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from clone import TOKEN
from fault_makers import Environment
from trainers import Trainer

from isoclock.cli.main import main
from isoclock.params.credentials import holds_credential
from tiny_study import TinyStudy, write_plan

pytestmark = pytest.mark.xdist_group("faults")
VARIABLES = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "GITHUB_TOKEN")


def files_with(folder: Path, text: str) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_token_in_the_environment_stays_there(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = trainer()
    write_plan(run.study)
    values = tuple((name, TOKEN) for name in VARIABLES)
    assert run.run(Environment(values)) == 0, run.said
    for name, value in values:
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(run.study.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for verb in (
        ["evaluate", run.cell.path],
        ["report", "--grid", "toy"],
        ["sync", "--grid", "toy"],
        ["audit", "--grid", "toy"],
    ):
        assert main(["--log", f"runs/logs/{verb[0]}.log", *verb]) == 0
    assert main(["evaluate", "streets/tiny/kd/iteration-6/9"]) == 2, "an error does not show it either"
    assert (run.study.folder / "mlflow.db").is_file()
    assert files_with(run.study.folder, TOKEN) == []
    assert TOKEN not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models.yaml", "head_channels: 16", "head_channels: 16\n      # weights: https://host/w.pth?token={}"),
        ("models.yaml", "head_channels: 24", "head_channels: {}"),
        ("models.yaml", "head_channels: 24", "head_channels: 24\n      hub_token: {}"),
        ("datasets.yaml", "root: data/streets", "root: https://me:{}@host/streets"),
        ("datasets.yaml", "root: data/streets", "root: data/streets  # token: {}"),
        ("methods.yaml", "{temperature: 1.0}", "{{temperature: 1.0, password: {}}}"),
        ("grids/toy.yaml", "about: Every", "about: {} every"),
    ],
)  # fmt: skip
def test_a_token_in_params_is_refused_and_not_repeated(
    empty_study: TinyStudy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    file: str,
    old: str,
    new: str,
) -> None:
    monkeypatch.chdir(empty_study.folder)
    empty_study.edit(file, old, new.format(TOKEN))
    for verb in (["check"], ["stamp", "--grid", "toy"], ["report", "--grid", "toy"]):
        assert main(["--log", f"runs/logs/{verb[0]}.log", *verb]) == 2
    output = "".join(capfd.readouterr())
    assert f"params/{file}: line " in output
    assert "looks like a password or a token" in output
    assert TOKEN not in output
    assert files_with(empty_study.folder, TOKEN) == [str(empty_study.folder / "params" / file)]


def test_the_projects_own_params_hold_none() -> None:
    folder = Path(__file__).parents[2] / "params"
    assert not [path for path in folder.rglob("*.yaml") if holds_credential(path.read_text(encoding="utf-8"))]
