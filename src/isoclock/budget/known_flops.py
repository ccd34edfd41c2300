"""GFLOPs that were counted before, kept in a file: counting imports torch and builds every network, which takes seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from isoclock.errors import ArtifactError
from isoclock.files import sha256_json, write_json
from isoclock.grid.plugin_code import split_plugins
from isoclock.params.schema import MethodEntry, Model
from isoclock.records.document import Part, read_if_there
from isoclock.schema import NonNegative

PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("torch", "timm")


@dataclass(frozen=True)
class StepFlops:
    """GFLOPs of one training iteration, and of all that a method does before the first. `whole`: its losses are in it."""

    step: float
    pretraining: float = 0.0
    whole: bool = True


class _File(Part):
    code: str
    gflops: dict[str, tuple[NonNegative, NonNegative, bool]]  # step, pretraining, whole


class KnownFlops:
    """Results of the functions of `isoclock.budget.flops`, by their arguments. Another version of the code starts anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = False

    def of(self, function: str, *arguments: Any) -> StepFlops:
        """What `isoclock.budget.flops.<function>` returns for `arguments`, without importing it where that is known."""
        named = [f"models.{one.architecture}" for one in _flat(arguments) if isinstance(one, Model)]
        named += [f"methods.{one.method}" for one in _flat(arguments) if isinstance(one, MethodEntry)]
        plugins = _digest(sorted(split_plugins(named)[1].values()))
        key = sha256_json([function, plugins, *(_plain(one) for one in arguments)])[:32]
        if key not in self._known:
            from isoclock.budget import flops

            found = getattr(flops, function)(*arguments)
            self._known[key] = found if isinstance(found, StepFlops) else StepFlops(found)
            self._new = True
        return self._known[key]

    def save(self) -> None:
        """Write the file if there is something new. A folder that cannot be written to is no error: it is counted again."""
        if self._new:
            gflops = {key: astuple(found) for key, found in self._known.items()}
            with suppress(OSError):
                write_json(self._path, {"code": self._code, "gflops": gflops})

    @cached_property
    def _code(self) -> str:
        return _digest(sorted(PACKAGE.rglob("*.py")), *map(version, LIBRARIES))

    @cached_property
    def _known(self) -> dict[str, StepFlops]:
        with suppress(ArtifactError):  # a damaged file is written again
            found = read_if_there(self._path, _File, "plan --dry")
            if found is not None and found.code == self._code:
                return {key: StepFlops(*values) for key, values in found.gflops.items()}
        return {}


def _flat(arguments: Sequence[Any]) -> list[Any]:
    return [one for argument in arguments for one in (argument if isinstance(argument, list) else [argument])]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.model_dump(mode="json", exclude={"provenance"}) if isinstance(value, BaseModel) else value


def _digest(files: Sequence[Path], *texts: str) -> str:
    """Digest of the bytes of some files, and of texts."""
    digest = hashlib.sha256("\0".join(texts).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
