"""Files of params/ with random mistakes: valid, or refused in printable lines; never a traceback, never a hang."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from isoclock.errors import ParamsError
from isoclock.params.check import load_params
from isoclock.params.load import Params
from mutations import MUTATIONS, has, mutated
from tiny_study import TinyStudy


def values(params: Params, file: str) -> dict[str, Any]:
    """The values that were read from a file, in the form of the file."""
    entries = {
        "datasets.yaml": params.datasets,
        "methods.yaml": params.methods,
        "grids/toy.yaml": params.grids,
        "models.yaml": {"models": params.models, "pairs": params.pairs},
        "budgets.yaml": {"budgets": params.budgets, "profile": params.profiles},
        "training.yaml": {},
    }[file]
    for (dataset, role), recipe in params.recipes.items() if file == "training.yaml" else ():
        entries.setdefault(dataset, {})[role] = recipe
    return {name: plain(entry) for name, entry in entries.items()}


def plain(entry: Any) -> Any:
    return {name: plain(inner) for name, inner in entry.items()} if isinstance(entry, dict) else entry.model_dump()


def in_roles(recipes: dict[str, Any]) -> dict[str, Any]:
    """training.yaml with `shared` in each role, as recipes have it; provenance is merged by other rules."""
    return {
        dataset: {
            role: {
                key: value
                for key, value in {**(parts.get("shared") or {}), **(own or {})}.items()
                if key != "provenance"
            }
            for role, own in parts.items()
            if role != "shared"
        }
        for dataset, parts in recipes.items()
    }


@pytest.mark.target("1,000 mutated params: no traceback, no hang, no other value accepted")
@pytest.mark.parametrize(
    "file", ["datasets.yaml", "models.yaml", "training.yaml", "methods.yaml", "budgets.yaml", "grids/toy.yaml"]
)
def test_random_mistakes(
    empty_study: TinyStudy,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    file: str,
) -> None:
    monkeypatch.chdir(empty_study.folder)
    path, draw, refused, found = Path("params") / file, random.Random(file), 0, list[str]()
    text = path.read_text(encoding="utf-8")
    for _ in range(MUTATIONS // 6):
        path.write_text(changed := mutated(text, draw), encoding="utf-8")
        began = time.process_time()
        try:
            params = load_params(Path("params"))
        except ParamsError as error:
            refused += 1
            found += error.problems
        else:
            written = yaml.safe_load(changed)  # PyYAML's own loader, not the one that is tested
            written = {"toy": written} if file == "grids/toy.yaml" else written
            written = in_roles(written) if file == "training.yaml" else written
            assert has(values(params, file), written), changed
        assert time.process_time() - began < 2
    assert refused > MUTATIONS // 12
    assert all(problem.isprintable() and problem.startswith("params") for problem in found)
    record_property("cases", MUTATIONS // 6)
    record_property("found", f"{file}: {refused} refused")
