"""The rows that `methods.py` measures: methods with settings, sizes and numbers of classes."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from isoclock.grid.code import syntax_digest
from isoclock.methods import ChannelSpec, build_method, cards

METHODS = Path(build_method.__code__.co_filename).parent


@dataclass(frozen=True)
class Setting:
    """Settings of a measurement: default params except `params`; all terms, or `terms`."""

    params: Mapping[str, Any] = field(default_factory=dict)
    terms: tuple[str, ...] | None = None
    batch: int = 2
    grid: tuple[int, int] | None = None  # overrides that of the scale
    tiny_grid: tuple[int, int] | None = None  # its minimum, if that is larger than the tiny grid
    by_classes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)  # params for a number of classes


SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    # At the backbone a pair of its steps takes minutes on a CPU, so it gets a quarter of the map.
    "mgd": {
        "head": Setting({"tap": "head"}, ("mgd",)),
        "backbone": Setting({"tap": "backbone"}, ("mgd",), grid=(32, 64)),
    },
    "cankd": {"backbone": Setting({"tap": "backbone"}, grid=(32, 64))},
    "skd": {
        "pixel": Setting({}, ("pixel",)),
        "pair official": Setting({"nodes": "official"}, ("pair",)),
        "pair port": Setting({"nodes": "port"}, ("pair",)),
        "holistic hinge": Setting({"adversary": "hinge"}, ("holistic",), tiny_grid=(64, 64)),
        "holistic wgan-gp": Setting({"adversary": "wgan-gp"}, ("holistic",), tiny_grid=(64, 64)),
    },
    # Otherwise banks take gigabytes; the cost of a step hardly depends on their length.
    "cirkd": {
        "mini-batch": Setting({"pool": "none"}, ("minibatch",)),
        "mini-batch pooled": Setting({"pool": "average"}, ("minibatch",)),
        "memory": Setting({}, ("pixel_memory", "region_memory"), by_classes={150: {"pixel_memory_size": 4000}}),
    },
    # Relations between images need several images.
    "rkd": {"pooled": Setting({"pool": "gap"}, batch=4), "whole maps": Setting({"pool": "flatten"}, batch=4)},
    "crd": {"": Setting(batch=4)},
}


@dataclass(frozen=True)
class Scale:
    """Sizes shared by all rows, and the time of a row."""

    student: ChannelSpec
    teacher: ChannelSpec
    grid: tuple[int, int]
    classes: tuple[int, ...]
    pair: str
    seconds: float  # of timed rounds, within these limits of their number
    least: int
    most: int


FULL = Scale(
    ChannelSpec(backbone=512, head=128),
    ChannelSpec(backbone=2048, head=512),
    (64, 128),
    (19, 150),
    "r101-r18",
    seconds=12.0,
    least=5,
    most=31,
)
TINY = Scale(
    ChannelSpec(backbone=32, head=16),
    ChannelSpec(backbone=64, head=32),
    (16, 32),
    (5,),
    "r10t-tiny",
    seconds=0.0,
    least=2,
    most=2,
)


@dataclass(frozen=True)
class Row:
    """One line of the table: a method with a setting and a number of classes."""

    method: str
    name: str
    setting: Setting
    classes: int
    batch: int
    grid: tuple[int, int]
    channels_last: bool

    @property
    def key(self) -> str:
        """The row in the JSON."""
        how = f"K{self.classes} B{self.batch} {self.grid[0]}x{self.grid[1]} T{torch.get_num_threads()}"
        return " ".join(filter(None, [self.method, self.name, how, "channels-last" if self.channels_last else ""]))

    @property
    def params(self) -> dict[str, Any]:
        """Params that differ from the defaults."""
        return {**self.setting.params, **self.setting.by_classes.get(self.classes, {})}

    def asked(self) -> dict[str, Any]:
        """Values that an existing row must have to be kept."""
        return {
            "method": self.method,
            "setting": self.name,
            "changed": dict(self.setting.by_classes.get(self.classes, {})),
            "params": self.params,
            "terms": list(self.setting.terms or cards()[self.method].terms),
            "classes": self.classes,
            "batch": self.batch,
            "grid": list(self.grid),
            "channels_last": self.channels_last,
            "threads": torch.get_num_threads(),
            "code": code_of(self.method),
        }


def rows_of(names: list[str], scale: Scale, batch: int | None, channels_last: bool, tiny: bool) -> Iterator[list[Row]]:
    """The rows of each method and setting: one for each number of classes."""
    for method in names:
        for name, setting in SETTINGS.get(method, {"": Setting()}).items():
            grid = (setting.tiny_grid if tiny else setting.grid) or scale.grid
            yield [
                Row(method, name, setting, classes, batch or setting.batch, grid, channels_last)
                for classes in scale.classes
            ]


def code_of(method: str) -> str:
    """Digest of a method's file and of the files in its folder that it imports."""
    waiting, seen = [method], {}
    while waiting:
        name = waiting.pop()
        for path in sorted([METHODS / f"{name}.py", *(METHODS / name).glob("*.py")]):
            if path in seen or not path.is_file():
                continue
            source = path.read_bytes()
            seen[path] = syntax_digest(source)
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("isoclock.methods."):
                    waiting.append((node.module or "").split(".")[2])
    return hashlib.sha256("".join(seen[path] for path in sorted(seen)).encode()).hexdigest()[:16]
