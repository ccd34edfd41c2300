"""The facts that a method's class states in its body: names, terms, parameters, provenance. Imports no torch.

`plan`, `check` and `--help` must know which methods there are and whether params/methods.yaml fits them, without the seconds
that importing torch takes. A method therefore states these facts as literals, and they are read from the source without
running it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from isoclock.discovery import Source, plugin_folder, sources
from isoclock.errors import ParamsError
from isoclock.facts import defaults, literal_facts, param_problems
from isoclock.hints import choices

Implementation = Literal["reference", "tuned"]
IMPLEMENTATIONS: tuple[str, ...] = get_args(Implementation)
REFERENCE, TUNED = IMPLEMENTATIONS
NOTHING_TO_GAIN = "as published; nothing to gain"
"""Of a method without `tuned`: less work saves less than 1 % of a training step, or only what a compiler saves as well."""

_REQUIRED = {"title": str, "source": str, "terms": tuple}
_OPTIONAL: dict[str, Any] = {
    "published": {},
    "params": {},
    "implementations": (REFERENCE,),
    "reads": {},
    "cost": "",
    "made_fast_by": "",
}


@dataclass(frozen=True)
class Card:
    """The facts of one method. `params` maps a parameter's name to the rule for its value, see `isoclock.facts.Rules`.

    `reads` maps a term to the outputs of the two networks that it reads; "{tap}" is replaced by the value of the parameter
    `tap`. `definition` is the class's docstring, which has the formula of each term. `published` maps a term to its
    published weight and parameters; published scores are in params/published.yaml. `defined` is where the class was found;
    None for a class that no file that isoclock searches defines.
    """

    name: str
    class_name: str
    title: str
    source: str
    terms: tuple[str, ...]
    published: Mapping[str, str]
    params: Mapping[str, Mapping[str, Any]]
    implementations: tuple[str, ...]
    reads: Mapping[str, tuple[str, ...]]
    definition: str
    cost: str
    made_fast_by: str
    defined: Source | None = field(default=None, compare=False)

    def defaults(self) -> dict[str, Any]:
        """Every parameter's value where none is given."""
        return defaults(self.params)

    def about_tuned(self) -> str:
        """What made `tuned` fast, or why there is none."""
        return self.made_fast_by if TUNED in self.implementations else NOTHING_TO_GAIN

    def outputs_read(self, params: Mapping[str, Any], terms: Iterable[str]) -> frozenset[str]:
        """Outputs that `terms` read under `params`, as the file states them: none where it states nothing."""
        values = {key: "logits" if value == "logit" else value for key, value in {**self.defaults(), **params}.items()}
        return frozenset(output.format(**values) for term in terms for output in self.reads.get(term, ()))

    def problems(
        self, params: Mapping[str, Any], *, implementation: str = REFERENCE, active_terms: frozenset[str] | None = None
    ) -> list[str]:
        """Everything that is wrong with an implementation, terms and parameters for this method, one line each."""
        problems = []
        if implementation not in self.implementations:
            problems.append(
                f"{self.name}.implementation: {implementation!r}: must be {' or '.join(self.implementations)}"
            )
        for term in sorted((active_terms or frozenset()) - set(self.terms)):
            problems.append(f"{self.name}.terms: {term!r}: unknown term; {choices(term, self.terms)}")
        return problems + param_problems(self.name, self.params, params)


def cards() -> dict[str, Card]:
    """The card of every method, by name: those of the package, of the study's plugins/ and of entry points."""
    return _cards(plugin_folder())


@cache
def _cards(_plugins: Path | None) -> dict[str, Card]:
    return {name: _card(source) for name, source in sources("methods").items()}


def card(name: str) -> Card:
    """The card of one method. Raises ParamsError for an unknown name."""
    if name not in cards():
        raise ParamsError(f"unknown method {name!r}; {choices(name, cards())}")
    return cards()[name]


@cache
def card_of(method: type) -> Card:
    """The card of a method's class: the one found by file, or one made of the attributes of a class defined elsewhere."""
    for known in cards().values():
        if known.defined and (known.defined.module, known.class_name) == (method.__module__, method.__name__):
            return known
    stated = {name: getattr(method, name) for name in (*_REQUIRED, *_OPTIONAL) if hasattr(method, name)}
    if missing := sorted(set(_REQUIRED) - set(stated)):
        raise ParamsError(f"{method.__module__}.{method.__name__}: class attributes are missing: {', '.join(missing)}")
    definition = inspect.getdoc(method) or ""
    return Card(method.__name__.lower(), method.__name__, definition=definition, **{**_OPTIONAL, **stated})


def _card(source: Source) -> Card:
    assert isinstance(source.definition, ast.ClassDef)
    return Card(
        name=source.name,
        class_name=source.attribute,
        definition=ast.get_docstring(source.definition) or "",
        defined=source,
        **literal_facts(source, _REQUIRED, _OPTIONAL),
    )
