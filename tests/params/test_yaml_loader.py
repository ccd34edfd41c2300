"""Files of params/ that exhaust memory, time or the stack, or mean something else than they seem to: one line each."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from isoclock.errors import ParamsError
from isoclock.params.check import load_params
from isoclock.params.yaml_file import read_yaml
from isoclock.params.yaml_loader import MAX_BYTES, MAX_DEPTH, MAX_INT, MAX_KEY, MAX_NODES, MAX_SCALAR, load_yaml
from tiny_study import TinyStudy

PARAMS = Path(__file__).parents[2] / "params"
LETTERS = "abcdefghij"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairwise(LETTERS)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000))
# text, line, what the message contains
REFUSED = {
    "brackets": ("a:\n  " + "[" * 100_000, 2, "levels deep"),
    "brackets that are closed": ("[" * 100_000 + "]" * 100_000, 1, "levels deep"),
    "braces": ("{a: " * 100_000, 1, "levels deep"),
    "dashes": ("- " * 100_000, 1, "levels deep"),
    "an alias bomb": (BOMB, 6, "aliases expanded"),
    "a chain of aliases": (CHAIN, MAX_DEPTH, "aliases expanded"),
    "an alias of itself": ("a: 1\nb: &x [*x]", 2, "contains itself"),
    "an alias of nothing": ("a: *x", 1, "no anchor"),
    "an anchor twice": ("a: &x 1\nb: &x 2", 2, "given twice"),
    "too many keys": ("".join(f"k{i}: 1\n" for i in range(MAX_NODES)), MAX_NODES // 2, "keys and values"),
    "a long value": ("a: 1\nb: " + "x" * (MAX_SCALAR + 1), 2, "characters"),
    "a long key": ("x" * (MAX_KEY + 1) + ": 1", 1, "characters"),
    "a long integer": ("a: " + "9" * 5000, 1, "out of range"),
    "an integer of 65 bits": (f"a: {MAX_INT + 1}", 1, "out of range"),
    "an infinite number": ("a: 1.0e+400", 1, "out of range"),
    "a number that becomes zero": ("a: 1.0e-400", 1, "out of range"),
    "minutes": ("a: 1:30", 1, "not a decimal integer"),
    "minutes with a fraction": ("a: 1:30.5", 1, "not a decimal number"),
    "an octal number": ("a: 010", 1, "not a decimal integer"),
    "a hexadecimal number": ("a: 0x1F", 1, "not a decimal integer"),
    "a date": ("a: 2001-01-01", 1, "put it in quotes"),
    "a date that does not exist": ("a: 2001-99-99", 1, "put it in quotes"),
    "a time": ("a: 2001-01-01 99:99:99", 1, "put it in quotes"),
    "an integer that is none": ("a: !!int x", 1, "tag !!int"),
    "a date by its tag": ("a: !!timestamp 2001-99-99", 1, "tag !!timestamp"),
    "bytes": ("a: !!binary '?'", 1, "tag !!binary"),
    "an object": ("a: !!python/object/apply:os.system ['true']", 1, "tags are not supported"),
    "an unknown tag": ("a: 1\nb: !foo {c: 1}", 2, "tag !foo"),
    "a merge": ("a: &a {b: 1}\nc:\n  <<: *a", 3, "merge keys"),
    "a key twice": ("a: {b: 1,\n  b: 2}", 2, "'b' is given twice"),
    "a key that is a number": ("1: x", 1, "put it in quotes"),
    "a key that is true": ("on: x", 1, "put it in quotes"),
    "a key that is a list": ("? [a]\n: 1", 1, "cannot be a key"),
    "two documents": ("a: 1\n---\nb: 2", 2, "second document"),
    "an escape character": ("a: 1\nb: x\x1b[2J", 2, "U+001B"),
    "an escape character, escaped": ('a: "\\e[2J"', 1, "U+001B"),
    "text from right to left": ("a: x\u202ey", 1, "U+202E"),
    "half a character": ('a: "\\uD800"', 1, "Unicode"),
    "a tab": ("a:\n\t- b", 2, "token"),
    "another version": ("%YAML 2.0\n---\na: 1", 1, "incompatible"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_with_file_and_line(tmp_path: Path, case: str) -> None:
    text, line, words = REFUSED[case]
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    began, found = time.process_time(), []
    assert read_yaml(path, found) is None
    assert time.process_time() - began < 2
    (problem,) = found
    assert problem.startswith(f"{path}: line {line}: "), problem
    assert words in problem
    assert problem.isprintable()
    assert len(problem) < len(str(path)) + 200


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("# nothing", None), ("a:", {"a": None}), ("a: [1, -5, +5, 1_000]", {"a": [1, -5, 5, 1000]}),
        (f"a: {MAX_INT}", {"a": MAX_INT}), ("a: 1.5e-4", {"a": 1.5e-4}), ("a: .inf", {"a": float("inf")}),
        ("a: -.Inf", {"a": float("-inf")}), ("a: 0.0", {"a": 0.0}), ("a: 1e-4", {"a": "1e-4"}),
        ("a: [on, 'on', true]", {"a": [True, "on", True]}), ("a: =", {"a": "="}), ("a: '010'", {"a": "010"}),
        ("a: &x {b: [c]}\nd: *x", {"a": {"b": ["c"]}, "d": {"b": ["c"]}}), ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
        ("\ufeffa: \U0001f600", {"a": "\U0001f600"}), ("[" * MAX_DEPTH + "]" * MAX_DEPTH, ...),
    ],
)  # fmt: skip
def test_plain_values(text: str, value: Any) -> None:
    assert load_yaml(text) == (yaml.safe_load(text) if value is ... else value)


@pytest.mark.parametrize("path", sorted(PARAMS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_own_files_mean_what_yaml_says(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert load_yaml(text) == yaml.safe_load(text)


def test_a_hundred_thousand_seeds_take_linear_time(empty_study: TinyStudy) -> None:
    def seconds(count: int) -> float:
        seeds = ", ".join(map(str, range(count)))
        names = "datasets: [streets], pairs: [tiny], methods: [kd], budgets: [compute-6]"
        grid = f"about: x\nstudy: false\nblocks:\n  - {{{names}, seeds: [{seeds}]}}\n"
        (empty_study.folder / "params/grids/toy.yaml").write_text(grid, encoding="utf-8")
        began = time.process_time()
        assert len(load_params(empty_study.folder / "params").grid("toy").blocks[0].seeds) == count
        return time.process_time() - began

    seconds(100)  # imports
    assert seconds(100_000) < 2


def test_many_mistakes_are_a_few_lines(empty_study: TinyStudy) -> None:
    seeds = ", ".join(str(-seed) for seed in range(1, 5001))
    empty_study.edit("grids/toy.yaml", "seeds: [0]", f"seeds: [{seeds}]")
    with pytest.raises(ParamsError) as caught:
        load_params(empty_study.folder / "params")
    assert caught.value.problems[-1].endswith("4980 more mistakes")
    assert len(caught.value.problems) == 21


def test_of_very_many_problems_the_first_are_kept(empty_study: TinyStudy) -> None:
    names = ", ".join(f"m{number}" for number in range(5000))
    empty_study.edit("grids/toy.yaml", "methods: [none, kd, fitnet, cwd, mgd]", f"methods: [{names}]")
    with pytest.raises(ParamsError) as caught:
        load_params(empty_study.folder / "params")
    assert len(caught.value.problems) == 201
    assert caught.value.problems[-1] == "4800 more problems"


def test_many_values_with_a_provenance_each_take_linear_time(empty_study: TinyStudy) -> None:
    params = "".join(f"    p{i}: 1\n" for i in range(20_000))
    provenance = "".join(f"    params.p{i}: ours\n" for i in range(20_000))
    old = '  params: {temperature: 1.0}\n  weights: {kd: 1.0}\n  provenance: {"*": ours}\n'
    others = "".join(f"    {key}: ours\n" for key in ("method", "implementation", "weights"))
    new = f"  params:\n{params}  weights: {{kd: 1.0}}\n  provenance:\n{others}{provenance}"
    empty_study.edit("methods.yaml", old, new)
    began = time.process_time()
    with pytest.raises(ParamsError, match="unknown"):
        load_params(empty_study.folder / "params")
    assert time.process_time() - began < 4


@pytest.mark.parametrize("name", ["datasets.yaml", "grids/toy.yaml", "published.yaml"])
@pytest.mark.parametrize("how", ["a FIFO", "a folder", "a device", "a large file", "a dangling link"])
def test_what_is_no_plain_file_is_not_opened(empty_study: TinyStudy, how: str, name: str) -> None:
    path = empty_study.folder / "params" / name
    path.unlink(missing_ok=True)
    if how == "a FIFO":
        os.mkfifo(path)
    elif how == "a folder":
        path.mkdir()
    elif how == "a large file":
        path.write_text("#" * (MAX_BYTES + 1), encoding="utf-8")
    else:
        path.symlink_to("/dev/zero" if how == "a device" else "nowhere")
    with pytest.raises(ParamsError) as caught:
        load_params(empty_study.folder / "params")
    found = [problem for problem in caught.value.problems if problem.startswith(f"{path}: ")]
    words = {"a large file": "larger than", "a dangling link": "no such file"}
    assert len(found) == 1
    assert words.get(how, f"it is {how}, not a file") in found[0]
