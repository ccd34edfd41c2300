"""`isoclock methods` prints every variant: its entry, the facts of its method's file, and published scores."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from isoclock.cli.main import main
from isoclock.methods.card import cards
from isoclock.params.check import load_params
from isoclock.progress import LOG_WIDTH
from isoclock.report.methods import describe, print_methods
from tiny_study import TinyStudy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def variants() -> dict[str, dict[str, Any]]:
    return {variant["variant"]: variant for variant in describe(load_params(ROOT / "params"))}


def test_every_variant_is_printed_whole(variants: dict[str, dict[str, Any]]) -> None:
    params = load_params(ROOT / "params")
    assert variants.keys() == params.methods.keys()
    for name, entry in params.methods.items():
        shown, card = variants[name], cards()[entry.method]
        assert (shown["method"], shown["implementation"], shown["weights"]) == (
            entry.method,
            entry.implementation,
            entry.weights,
        )
        assert (shown["source"], shown["title"], shown["extras"]) == (card.source, card.title, entry.extras)
        assert shown["params"] == {**card.defaults(), **entry.params}
        rows = [row for row in params.published.values() if row.method_name == entry.method]
        assert [score["source"] for score in shown["published_miou"]] == [row.source for row in rows]


def test_published_scores_are_those_of_params(variants: dict[str, dict[str, Any]]) -> None:
    scores = variants["cwd"]["published_miou"]
    assert {"dataset": "cityscapes", "student": "PSPNet-R18", "undistilled": 74.23, "miou": 76.26}.items() <= scores[
        0
    ].items()
    assert all(score["method"].startswith("CWD") for score in scores)


def test_variants_of_one_method_stand_together(variants: dict[str, dict[str, Any]]) -> None:
    methods = [variant["method"] for variant in variants.values()]
    changes = sum(first != second for first, second in pairwise(methods))
    assert changes == len(set(methods)) - 1


def test_taps_are_what_the_active_terms_read() -> None:
    for name, card in cards().items():
        for term, outputs in card.reads.items():
            assert term in card.terms, name
            assert len(card.outputs_read({}, [term])) == len(outputs)
        assert card.outputs_read({}, []) == frozenset()
    cwd = cards()["cwd"]
    if cwd.reads:
        assert cwd.outputs_read({"tap": "head"}, ["cwd"]) == {"head"}
        assert cwd.outputs_read({}, ["cwd"]) == {"logits"}


def test_as_json_it_can_be_read_by_programs(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(empty_study.folder)
    assert main(["methods", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [variant["variant"] for variant in shown] == ["none", "kd", "fitnet", "cwd", "mgd"]
    assert shown[1]["weights"] == {"kd": 1.0}


def test_the_table_has_one_line_of_source_for_each_method(capsys: pytest.CaptureFixture[str]) -> None:
    params = load_params(ROOT / "params")
    print_methods(params)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= LOG_WIDTH
    for method in {entry.method for entry in params.methods.values()}:
        assert out.count(f"{method}: {cards()[method].title.split()[0]}") == 1
