"""The facts of each architecture, read from its file without importing it: parameters, taps and their strides. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isoclock.discovery import Source, plugin_folder, sources
from isoclock.errors import ParamsError, UserError
from isoclock.facts import Rules, defaults, literal_facts
from isoclock.hints import choices
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS

Stride = int | str | Mapping[str, Mapping[Any, Any]]
"""Pixels; or the name of the parameter that gives them; or {parameter: {its value: Stride}}."""

_REQUIRED = {"output_stride": object, "taps": dict}
_OPTIONAL: dict[str, Any] = {"params": {}, "auxiliary_head": False, "auxiliary_stride": None, "imagenet": None}


@dataclass(frozen=True)
class Architecture:
    """What the class of an architecture states in its body; `isoclock.models.Segmenter` says what each fact means."""

    name: str
    class_name: str
    params: Rules
    output_stride: Stride
    taps: Mapping[str, Stride]
    auxiliary_head: bool
    auxiliary_stride: Stride | None  # None: that of the logits
    imagenet: Mapping[str, Mapping[Any, str]] | None  # None: the class does not state a repository
    defined: Source

    @property
    def outputs(self) -> frozenset[str]:
        """Names of all outputs."""
        return frozenset({LOGITS, *self.taps, *([AUX_LOGITS] if self.auxiliary_head else [])})

    def strides(self, params: Mapping[str, Any]) -> dict[str, int]:
        """The stride of every output by name, of a network with these `params`. Raises ParamsError if it has none."""
        rules = {LOGITS: self.output_stride, **self.taps}
        if self.auxiliary_head:
            rules[AUX_LOGITS] = self.auxiliary_stride or self.output_stride
        values = defaults(self.params) | dict(params)
        return {name: self._pixels(rule, values) for name, rule in rules.items()}

    def repository(self, params: Mapping[str, Any]) -> str | None:
        """The repository of the Hugging Face hub that `weights: imagenet` means with these `params`; None if there is none."""
        if self.imagenet is None:
            return None
        ((name, of_value),) = self.imagenet.items()
        return of_value.get((defaults(self.params) | dict(params)).get(name))

    def _pixels(self, rule: Stride, values: Mapping[str, Any]) -> int:
        if isinstance(rule, str):
            return int(values[rule])
        if not isinstance(rule, Mapping):
            return rule
        ((name, of_value),) = rule.items()
        if values[name] not in of_value:
            fit = ", ".join(str(value) for value in of_value)
            raise ParamsError(
                f"{self.name}.{name}: {values[name]!r}: does not go with the other parameters; choose from {fit}"
            )
        return self._pixels(of_value[values[name]], values)


def architectures() -> dict[str, Architecture]:
    """Every architecture by name: those of the package, of the study's plugins/ and of entry points."""
    return _architectures(plugin_folder())


def architecture(name: str) -> Architecture:
    """One architecture. Raises ParamsError for an unknown name."""
    known = architectures()
    if name not in known:
        raise ParamsError(f"architecture: unknown architecture {name!r}; {choices(name, known)}")
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
    rules = {"output_stride": facts["output_stride"], **{f"taps.{name}": rule for name, rule in facts["taps"].items()}}
    rules |= {"auxiliary_stride": facts["auxiliary_stride"]} if facts["auxiliary_stride"] else {}
    if wrong := [name for name, rule in rules.items() if not _is_stride(rule, facts["params"])]:
        raise UserError(
            f"{source.path}: class {source.attribute}: {wrong[0]} must be pixels, the name of a parameter, or "
            "{parameter: {value: stride}}"
        )
    if facts["imagenet"] is not None and not _is_table(facts["imagenet"], facts["params"]):
        raise UserError(
            f"{source.path}: class {source.attribute}: imagenet must be {{parameter: {{value: repository of the hub}}}}"
        )
    return Architecture(name=source.name, class_name=source.attribute, defined=source, **facts)


def _is_table(value: object, params: Rules) -> bool:
    """Whether a fact is {parameter: {its value: text}}."""
    if not isinstance(value, dict) or len(value) != 1 or not params.keys() >= value.keys():
        return False
    (of_value,) = value.values()
    return isinstance(of_value, dict) and all(isinstance(text, str) for text in of_value.values())


def _is_stride(rule: object, params: Rules) -> bool:
    if isinstance(rule, str):
        return rule in params
    if not isinstance(rule, dict):
        return isinstance(rule, int) and rule > 0
    (name, of_value), *more = [*rule.items(), (None, None)]
    return len(more) == 1 and name in params and all(_is_stride(inner, params) for inner in of_value.values())
