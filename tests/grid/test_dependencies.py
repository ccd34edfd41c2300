"""The rule files and dvc.yaml repeat, as literals, what `isoclock.grid.dependencies` says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import isoclock
from isoclock.dag.targets import GridTargets
from isoclock.data.packing.packed import INDEX
from isoclock.grid.cells import Cell
from isoclock.grid.dependencies import Job
from isoclock.grid.jobs import GridJobs
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params
from tiny_study import TinyStudy, add_avenues

ROOT = Path(__file__).parents[2]
RULES = {
    name: body
    for path in sorted((ROOT / "workflow/rules").glob("*.smk"))
    if path.name != "targets.smk"
    for name, body in re.findall(
        r"^(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), re.MULTILINE | re.DOTALL
    )
}
_LITERAL = re.compile(r'(\w+)=(?:(?:directory|touch|report)\(\s*)*"((?:results|runs)/[^"]+)"')
_FROM_TARGETS = re.compile(r'(\w+)=(?:lambda wildcards: (?:\(\s*)?)?TARGETS\.(\w+)(?:\("(\w+)"\))?')
_FILES = "record.json weights.safetensors ledger.jsonl validation.npz scores.json confusion.npz run.json report.html"


def section(rule: str, name: str) -> str:
    found = re.search(rf"^    {name}:\n(.*?)(?=^    \w|\Z)", RULES[rule], re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def literals(text: str, job: Job) -> dict[str, str]:
    return {key: path.format(**job.wildcards) for key, path in _LITERAL.findall(text)}


def asked(text: str, targets: GridTargets, job: Job) -> dict[str, list[str]]:
    """Inputs for which a rule calls its targets: a list, or a function of the wildcards."""
    found = {}
    for key, name, rule in _FROM_TARGETS.findall(text):
        member = getattr(targets, name)
        found[key] = member(rule) if rule else member(SimpleNamespace(**job.wildcards))
    return found


@pytest.fixture
def jobs(empty_study: TinyStudy) -> GridJobs:
    add_avenues(empty_study.folder / "params")
    empty_study.edit(
        "grids/both.yaml", "study: false\n", "study: false\nteacher_miou_at_least: {avenues: {tiny: 0.5}}\n"
    )
    return GridJobs.of_grid(empty_study.params, "both", Layout())


def test_every_rule_is_defined_once(jobs: GridJobs) -> None:
    assert {job.rule for job in jobs.all()} == set(RULES)


def test_the_rules_read_and_write_what_is_defined(jobs: GridJobs) -> None:
    targets = GridTargets(jobs)
    for job in jobs.all():
        inputs, outputs, log = (section(job.rule, name) for name in ("input", "output", "log"))
        assert literals(outputs, job) == {key: str(path) for key, path in job.outputs.items()}
        read = {key: [path] for key, path in literals(inputs, job).items()} | asked(inputs, targets, job)
        assert read == {key: [str(path) for path in paths] for key, paths in job.inputs.items()}, job.rule
        assert log.strip(' \n",').format(**job.wildcards) == str(Layout().log(job.rule, *job.wildcards.values()))


def test_a_rule_names_its_cell_as_the_command_line_does(jobs: GridJobs) -> None:
    for job in (*jobs.of("student"), *jobs.of("evaluate")):
        shell = re.sub(r'"\s+"', "", section(job.rule, "shell"))
        for name, value in job.wildcards.items():
            shell = shell.replace(f"{{wildcards.{name}:q}}", value)
        (cell,) = re.findall(rf"{job.rule} (\S+?)[ \"]", shell)
        assert Cell.parse(cell).as_dict() == {**job.wildcards, "seed": int(job.wildcards["seed"])}


def stages() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return {name: stage for name, stage in found.items() if name != "stamps"}


def resolved(entries: Iterable[Any], block: dict[str, Any], method: str) -> set[Path]:
    """Paths of `deps` or `outs` (an entry is a path, or a path with options) for one method of a grid's block."""
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    named = [re.sub(r"\$\{blocks\[0\]\.(\w+)\[0\]\}", lambda match: block[match[1]][0], path) for path in paths]
    return {Path(path.replace("${item.method}", method)) for path in named}


@pytest.mark.parametrize("name", stages())
def test_a_stage_of_dvc_reads_and_writes_what_its_rules_do(name: str) -> None:
    params = load_params(ROOT / "params")
    stage, block = stages()[name], params.grid("demo").blocks[0].model_dump()
    command = stage["cmd"] if isinstance(stage["cmd"], str) else stage["cmd"][0]
    allowed = command.split("--allowed-rules ")[1].split(" -- ")[0].split()
    jobs = [job for job in GridJobs.of_grid(params, "demo", Layout()).all() if job.rule in allowed]
    unread = []
    for method in block["methods"] if "matrix" in stage else [None]:
        mine = [job for job in jobs if method is None or job.wildcards["method"] == method]
        written = set(chain.from_iterable(job.outputs.values() for job in mine))
        read = {path for job in mine for paths in job.inputs.values() for path in paths} - written
        deps, outs = (resolved(stage[key], block, method or "") for key in ("deps", "outs"))
        assert all(any(path.is_relative_to(dep) for dep in deps) for path in read), read
        assert all(any(path.is_relative_to(out) for out in outs) for path in written), written
        unread.append({dep for dep in deps if not any(path.is_relative_to(dep) for path in read)})
    raw = {Path("data") / block["datasets"][0]}  # DVC compares the content of the raw files
    assert set.intersection(*unread) <= raw, "a dependency that no rule reads"


def test_the_index_of_a_prepared_data_set_is_the_one_that_prepare_writes() -> None:
    assert Layout().prepared_index("streets").name == INDEX


def test_no_other_module_spells_files_of_a_study() -> None:
    package = Path(isoclock.__file__).parent
    spelled = set()
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        if texts & set(_FILES.split()) or any(re.match(r"(results|runs)/\S+$", text) for text in texts):
            spelled.add(path.relative_to(package).as_posix())
    assert spelled == {"grid/layout.py"}
