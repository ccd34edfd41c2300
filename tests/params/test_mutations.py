"""Files of params/ with random mistakes: valid, or refused in printable lines; never a traceback, never a hang."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from isoclock.errors import ParamsError
from isoclock.params.check import load_params
from tiny_study import TinyStudy

MUTATIONS = 1000 if os.environ.get("ISOCLOCK_SLOW") == "1" else 100
PIECES = [
    "null", "-1", "1.0e+400", "[]", "{}", "!!int x", "2001-13-45", "0x1F", "&a", "*a", "'", '"', ":", "  ", "\n", "\t",
    "- ", "? ", "|", "<<: *a", "..", "$(touch X)", "\x1b", "\u202e", "9" * 30, "true", "0.5", "a" * 300, "1:30", "#", "%",
    "@", "`", "!", "yes", ".nan", ".inf", "[" * 200, "{a: {b: {c: 1}}}",
]  # fmt: skip


def mutated(text: str, draw: random.Random) -> str:
    """`text` with one to three mistakes: a piece inserted or as a value, characters or a line removed, a line twice."""
    for _ in range(draw.randint(1, 3)):
        at, lines = draw.randrange(len(text) + 1), text.split("\n")
        line = draw.randrange(len(lines))
        key = lines[line].partition(":")[0]
        text = draw.choice([
            text[:at] + draw.choice(PIECES) + text[at:],
            text[:at] + text[at + draw.randint(1, 9) :],
            "\n".join([*lines[:line], *lines[line + 1 :]]),
            "\n".join([*lines[:line], f"{key}: {draw.choice(PIECES)}", *lines[line + 1 :]]),
            "\n".join([*lines[:line], draw.choice(lines), *lines[line:]]),
        ])  # fmt: skip
    return text


@pytest.mark.parametrize(
    "file", ["datasets.yaml", "models.yaml", "training.yaml", "methods.yaml", "budgets.yaml", "grids/toy.yaml"]
)
def test_random_mistakes(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.chdir(empty_study.folder)
    path, draw, refused, found = Path("params") / file, random.Random(file), 0, list[str]()
    text = path.read_text(encoding="utf-8")
    for _ in range(MUTATIONS // 5):
        path.write_text(mutated(text, draw), encoding="utf-8")
        began = time.process_time()
        try:
            load_params(Path("params"))
        except ParamsError as error:
            refused += 1
            found += error.problems
        assert time.process_time() - began < 2
    assert refused > MUTATIONS // 10
    assert all(problem.isprintable() and problem.startswith("params") for problem in found)
