"""Files for people and services around the project agree with the code and with each other."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from isoclock import __version__

ROOT = Path(__file__).parents[2]
HEADINGS = {
    "Added",
    "Changed",
    "Deprecated",
    "Removed",
    "Fixed",
    "Security",
    "Results that become invalid",
    "Known limits",
}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (lines,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    return [line.strip().removeprefix("@") for line in lines.splitlines()]


def test_pre_commit_runs_what_make_lint_runs() -> None:
    hooks = [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["entry"] for hook in hooks] == recipe("lint")
    assert {hook["language"] for hook in hooks} == {"system"}


def test_a_folder_with_spaces_for_make() -> None:
    for folder in ("/a folder/with  spaces", "relative/it's", "/a$b"):
        show = "show: ; @printenv ISOCLOCK_ROOT_CAMVID"
        command = ["make", "-s", "--eval", show, "show", f"CAMVID={folder}"]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == f"{folder}\n"


def test_ci_calls_the_script() -> None:
    steps = read(".github/workflows/ci.yml")["jobs"]["tests"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def test_the_citation_names_version_and_authors_of_the_licence() -> None:
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == __version__
    (holder,) = re.findall(r"^Copyright \(c\) \d{4} (.+)$", (ROOT / "LICENSE").read_text(), re.MULTILINE)
    assert [author["name"] for author in citation["authors"]] == [holder]


def test_the_changelog_has_the_version_and_known_headings() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert f"## [{__version__}]" in "\n".join(lines)
    assert {line.removeprefix("### ") for line in lines if line.startswith("### ")} <= HEADINGS
    assert [line for line in lines if len(line) > 100] == []


def test_targets_that_contributing_names_are_there() -> None:
    targets = set(re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert {"lint", "test", "test-all", "test-faults", "test-slurm", "test-install", "bench"} <= targets
    for target in targets:
        assert recipe(target)


def test_no_two_test_files_have_one_name() -> None:
    """Tests are not in packages, so pytest cannot collect both."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []
