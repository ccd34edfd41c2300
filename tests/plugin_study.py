"""The plugins that docs/plugins.md shows, put into a study."""

from __future__ import annotations

import re
from pathlib import Path

from tiny_study import FILES, TinyStudy, edit

PAGE = Path(__file__).resolve().parents[1] / "docs" / "plugins.md"
FILES_SHOWN = ("methods/huber.py", "models/convformer.py", "readers/roads.py")
GRID = """\
about: What docs/plugins.md shows.
study: false
blocks:
  - datasets: [streets]
    pairs: [former]
    methods: [none, kd, huber]
    budgets: [iteration-6]
    seeds: [0]
  - datasets: [roads]
    pairs: [former]
    methods: [kd]
    budgets: [iteration-6]
    seeds: [0]
"""
PAIR = """\
  former:
    teacher: convformer-wide
    student: convformer-slim
    profile: demo
    provenance: {"*": ours}
"""


def shown(language: str) -> list[str]:
    """The page's blocks of code in a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def add_plugins(study: TinyStudy) -> Path:
    """Write the page's plugins, their entries, and grid `plugins`, which has a cell of each. Returns plugins/."""
    folder, params = study.folder / "plugins", study.folder / "params"
    for name, content in zip(FILES_SHOWN, shown("python"), strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    methods, models, datasets = shown("yaml")
    for name, added in (("methods.yaml", methods), ("datasets.yaml", datasets), ("models.yaml", PAIR)):
        with (params / name).open("a", encoding="utf-8") as file:
            file.write(added)
    edit(params / "models.yaml", "pairs:\n", f"{models}pairs:\n")
    recipe = FILES["training.yaml"].replace("aux_weight: 0.4", "aux_weight: 0.0")
    (params / "training.yaml").write_text(recipe + recipe.replace("streets:", "roads:"), encoding="utf-8")
    (params / "grids" / "plugins.yaml").write_text(GRID, encoding="utf-8")
    return folder
