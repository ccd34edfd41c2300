"""Names of files, folders and entries reach the shell quoted, and only if they follow the rule for names."""

from __future__ import annotations

import re
import shlex
import string
from pathlib import Path

import pytest

from isoclock.errors import UserError
from isoclock.grid.cells import Cell
from isoclock.params.check import load_params
from isoclock.schema import MAX_SEED, is_name
from tiny_study import TinyStudy

ROOT = Path(__file__).parents[2]
RULE_FILES = [ROOT / "Snakefile", *sorted((ROOT / "workflow").rglob("*.smk"))]
_STRINGS = r'(?:\s*r?f?"(?:[^"\\]|\\.)*")+'
_SHELL = re.compile(rf"(?:^ +shell:\n|\bshell\()({_STRINGS})", re.MULTILINE)
SHELLS = [
    (path.name, "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found)))
    for path in RULE_FILES
    for found in _SHELL.findall(path.read_text())
]
BAD_NAMES = [
    "$(touch here)",
    "c d",
    "a;b",
    "../a",
    "a/b",
    "a\nb",
    "A",
    "-a",
    ".a",
    "ü",
    "a\x1b[2J",
    "a" * 101,
    "",
    "a'b",
]


def test_every_rule_with_a_job_has_a_shell_command() -> None:
    text = "\n".join(path.read_text() for path in RULE_FILES)
    assert len(SHELLS) == len(re.findall(r"\bshell\b[:(]", text))
    assert len(SHELLS) >= 12


@pytest.mark.parametrize(("file", "command"), SHELLS, ids=[f"{file}-{i}" for i, (file, _) in enumerate(SHELLS)])
def test_every_field_of_a_shell_command_is_quoted(file: str, command: str) -> None:
    fields = [(name, spec) for _, name, spec, _ in string.Formatter().parse(command) if name is not None]
    assert fields
    assert all(spec == "q" for _, spec in fields), (file, fields)


def test_no_shell_command_is_an_f_string() -> None:
    assert not [path.name for path in RULE_FILES if re.search(r"shell(:\s*|\()\s*r?f\"", path.read_text())]


def test_snakemakes_quoting_leaves_an_empty_option_out() -> None:
    from snakemake.utils import format as filled

    study, name = "", "$(touch here)"  # what the pattern names
    assert shlex.split(filled("a {name:q} {study:q}")) == ["a", name]
    assert study == ""


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_breaks_the_rule(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(UserError, match=r"must be dataset/pair|is not a name") as caught:
        Cell.parse(f"streets/tiny/{name}/compute-6/0")
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("seed", ["-1", "01", "+1", "1_0", "²", "9" * 5000, str(MAX_SEED + 1), "0\n"])
def test_a_seed_that_is_none(seed: str) -> None:
    with pytest.raises(UserError, match="must be dataset/pair/method/budget/seed"):
        Cell.parse(f"streets/tiny/kd/compute-6/{seed}")


def test_the_largest_seed() -> None:
    path = f"streets/tiny/kd/compute-6/{MAX_SEED}"
    assert Cell.parse(path).path == path


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name and "/" not in name and not name.startswith(".")])
def test_a_grid_file_with_such_a_name_is_refused(empty_study: TinyStudy, name: str) -> None:
    grids = empty_study.folder / "params" / "grids"
    (grids / "toy.yaml").rename(grids / f"{name}.yaml")
    with pytest.raises(UserError) as caught:
        load_params(empty_study.folder / "params")
    (problem,) = caught.value.problems
    assert "rename the file" in problem
    assert problem.isprintable()


def test_a_grid_with_another_suffix_is_reported_and_a_hidden_one_is_not(empty_study: TinyStudy) -> None:
    grids = empty_study.folder / "params" / "grids"
    (grids / "._toy.yaml").write_bytes(b"\x00\x05")
    (grids / ".#toy.yaml").symlink_to("user@host.1234")
    assert list(load_params(empty_study.folder / "params").grids) == ["toy"]
    (grids / "other.YAML").write_text("", encoding="utf-8")
    (grids / "third.yml").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"does not end in \.yaml") as caught:
        load_params(empty_study.folder / "params")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("datasets.yaml", "streets:\n", "'$(touch here)':\n"),
        ("models.yaml", "  small:\n", "  'c d':\n"),
        ("models.yaml", "pairs:\n  tiny:\n", "pairs:\n  Tiny:\n"),
        ("methods.yaml", "\nkd:\n", "\n'k;d':\n"),
        ("budgets.yaml", "  compute-6:\n", "  'compute 6':\n"),
        ("training.yaml", "streets:\n", "'../streets':\n"),
    ],
)
def test_an_entry_with_such_a_name_is_refused(empty_study: TinyStudy, file: str, old: str, new: str) -> None:
    empty_study.edit(file, old, new)
    with pytest.raises(UserError) as caught:
        load_params(empty_study.folder / "params")
    (problem,) = caught.value.problems
    assert problem.startswith(str(empty_study.folder / "params" / file))
    assert problem.endswith("rename it")
