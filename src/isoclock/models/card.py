"""The facts of each architecture, read from its file without importing it: parameters, taps and their strides. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isoclock.discovery import Source, plugin_folder, sources
from isoclock.errors import ParamsError, UserError
from isoclock.facts import Rules, literal_facts
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS

_REQUIRED = {"output_stride": int, "taps": dict}
_OPTIONAL: dict[str, Any] = {"params": {}, "auxiliary_head": False}


@dataclass(frozen=True)
class Architecture:
    """What the class of an architecture states in its body; `isoclock.models.Segmenter` says what each fact means."""

    name: str
    class_name: str
    params: Rules
    output_stride: int
    taps: Mapping[str, int]
    auxiliary_head: bool
    defined: Source

    @property
    def strides(self) -> dict[str, int]:
        """The stride of every output, by name."""
        logits = {LOGITS: self.output_stride} | ({AUX_LOGITS: self.output_stride} if self.auxiliary_head else {})
        return {**logits, **self.taps}


def architectures() -> dict[str, Architecture]:
    """Every architecture by name: those of the package, of the study's plugins/ and of entry points."""
    return _architectures(plugin_folder())


def architecture(name: str) -> Architecture:
    """One architecture. Raises ParamsError for an unknown name."""
    known = architectures()
    if name not in known:
        raise ParamsError(f"architecture: unknown architecture {name!r}; choose from {', '.join(known)}")
    return known[name]


@cache
def _architectures(_plugins: Path | None) -> dict[str, Architecture]:
    return {name: _architecture(source) for name, source in sources("models").items()}


def _architecture(source: Source) -> Architecture:
    facts = literal_facts(source, _REQUIRED, _OPTIONAL)
    if missing := [tap for tap in (BACKBONE, HEAD) if tap not in facts["taps"]]:
        raise UserError(
            f"{source.path}: class {source.attribute}: taps has no {', '.join(missing)}, which methods read"
        )
    return Architecture(name=source.name, class_name=source.attribute, defined=source, **facts)
