"""`isoclock VERB --help` explains every argument, and its examples are of names that params/ has."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from isoclock.cli.main import _parser, main
from isoclock.grid.cells import known_cell
from isoclock.grid.jobs import GridJobs
from isoclock.grid.layout import Layout
from isoclock.modules import modules_of
from isoclock.params.check import load_params
from isoclock.params.load import Params
from isoclock.params.tuning import SWEEP

ROOT = Path(__file__).parents[2]
VERBS = modules_of("cli", without=("main", "shared"))
SUCH_AS = re.compile(r"such as ([^\s,;:)]+)")


def subparsers() -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in _parser()._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)


def arguments() -> Iterator[tuple[str, argparse.Action]]:
    for verb, parser in subparsers().items():
        yield from ((verb, action) for action in parser._actions if action.dest != "help")


@cache
def params() -> Params:
    return load_params(ROOT / "params")


def exists(key: str, value: str, verb: str) -> bool:
    """Whether params/ has what an argument names; True for arguments that name nothing there."""
    known = {
        "dataset": params().datasets, "model": params().models, "budget": params().budgets, "name": params().methods,
        "method": params().methods, "grid": params().grids,
    }  # fmt: skip
    if key in ("cell", "trained") and value.count("/") == 4:
        return known_cell(params(), value).path == value
    if key == "trained":
        dataset, model = value.split("/")
        return dataset in params().datasets and model in params().models
    if key == "pair":
        return value.rpartition("/")[2] in params().pairs
    if key == "grid" and verb == "tune":
        return bool(params().grid(value + SWEEP))
    if key == "profile":
        return (ROOT / value).is_dir()
    return key not in known or value in known[key]


@pytest.mark.parametrize(("verb", "action"), arguments(), ids=lambda one: getattr(one, "dest", one))
def test_every_argument_is_explained(verb: str, action: argparse.Action) -> None:
    assert action.help, action.dest
    examples = SUCH_AS.findall(action.help)
    takes_a_value = action.nargs != 0
    assert not takes_a_value or examples or action.default is not None, "a value needs an example, or a default"
    for example in examples:
        assert exists(action.dest, example, verb), example


@pytest.mark.parametrize("verb", VERBS)
def test_the_example_of_a_verb_can_be_typed(verb: str) -> None:
    name = verb.replace("_", "-")
    example = VERBS[verb].EXAMPLE
    found = vars(_parser().parse_args(shlex.split(example)))
    assert example.split()[0] == name
    for key, value in found.items():
        assert not isinstance(value, str) or exists(key, value, verb), f"{key}={value}"
    assert f"  isoclock {example}" in subparsers()[name].format_help().splitlines()


def test_the_example_of_a_gate_has_one() -> None:
    _verb, grid, where = VERBS["gate"].EXAMPLE.split()
    assert tuple(where.split("/")) in GridJobs.of_grid(params(), grid, Layout()).gates


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_80_columns(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = subparsers()[verb.replace("_", "-")] if verb else _parser()
    assert max(map(len, parser.format_help().splitlines())) <= 80


def test_an_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["studnt"])
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("isoclock: error: unknown verb 'studnt'; did you mean 'student'")
    )


def test_methods_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["methods", "cwd"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("cwd: channel-wise distillation\n")
    assert re.search(r"^  temperature +4$", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80
    assert main(["methods", "fitnt"]) == 2
    assert "unknown method 'fitnt'; did you mean 'fitnet'" in capsys.readouterr().err
    assert main(["methods"]) == 0
    table = capsys.readouterr().out
    assert max(map(len, table.splitlines())) <= 80
    assert all(name in table for name in params().methods)
