"""What a method's file says of itself, read from its source: names, terms, parameters, provenance. Imports no torch.

`plan`, `grid` and `--help` must know which methods there are and whether `params/methods.yaml` fits them, and may not
wait seconds for torch. So a method writes these facts as plain literals in its class body, and they are read
without running the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isoclock.discovery import Source, plugin_folder, sources
from isoclock.errors import ParamsError
from isoclock.facts import defaults, literal_facts, param_problems

REFERENCE = "reference"
TUNED = "tuned"
IMPLEMENTATIONS = (REFERENCE, TUNED)

_REQUIRED = {"title": str, "source": str, "terms": tuple}
_OPTIONAL: dict[str, Any] = {
    "published": {},
    "params": {},
    "implementations": (REFERENCE,),
    "reads": {},
    "equation": "",
    "cost": "",
    "made_fast_by": "",
    "miou": (),
}


@dataclass(frozen=True)
class Card:
    """The facts of one method. `params` maps a name to its rule, see `isoclock.facts.Rules`.

    `reads` maps a term to the outputs that it reads of the two networks, "{tap}" standing for the value of the parameter
    `tap`: the networks are asked for these. For `isoclock methods` and docs/methods.md, where a file states them: `miou` are
    published scores, each with student, dataset, miou, from (without the method), teacher, source.
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
    equation: str
    cost: str
    made_fast_by: str
    miou: tuple[Mapping[str, Any], ...]
    defined: Source

    def defaults(self) -> dict[str, Any]:
        """Every parameter's value where none is given."""
        return defaults(self.params)

    def outputs_read(self, params: Mapping[str, Any], terms: Iterable[str]) -> frozenset[str]:
        """Outputs that `terms` read under `params`, as the file states them: none where it states nothing."""
        values = {key: "logits" if value == "logit" else value for key, value in {**self.defaults(), **params}.items()}
        return frozenset(output.format(**values) for term in terms for output in self.reads.get(term, ()))


def cards() -> dict[str, Card]:
    """The card of every method, by name: those of the package, of the study's plugins/ and of entry points."""
    return _cards(plugin_folder())


@cache
def _cards(_plugins: Path | None) -> dict[str, Card]:
    return {name: _card(source) for name, source in sources("methods").items()}


def card(name: str) -> Card:
    """The card of one method. Raises ParamsError for a name that no file has."""
    if name not in cards():
        raise ParamsError(f"method: {name!r}: unknown; there is {', '.join(cards())}")
    return cards()[name]


@cache
def card_of(method: type) -> Card:
    """The card of a method's class. Raises ParamsError for a class that is in no file found."""
    by_class = {(known.defined.module, known.class_name): known for known in cards().values()}
    for base in method.__mro__:
        if (base.__module__, base.__name__) in by_class:
            return by_class[base.__module__, base.__name__]
    raise ParamsError(f"{method.__module__}.{method.__name__}: not found by file; docs/plugins.md says where to put it")


def signature_problems(
    name: str,
    params: Mapping[str, Any],
    *,
    implementation: str = REFERENCE,
    active_terms: frozenset[str] | None = None,
) -> list[str]:
    """All that is wrong with a method's name, implementation, terms and parameters: a line each, or no line."""
    if name not in cards():
        return [f"method: {name!r}: unknown; there is {', '.join(cards())}"]
    known = cards()[name]
    problems = []
    if implementation not in IMPLEMENTATIONS:
        problems.append(f"{name}.implementation: {implementation!r}: takes {' or '.join(IMPLEMENTATIONS)}")
    elif implementation not in known.implementations:
        problems.append(
            f"{name}.implementation: {implementation!r}: not available yet; set {' or '.join(known.implementations)}"
        )
    for term in sorted((active_terms or frozenset()) - set(known.terms)):
        problems.append(f"{name}.terms: {term!r}: unknown; {name} has {', '.join(known.terms) or 'none'}")
    return problems + param_problems(name, known.params, params)


def _card(source: Source) -> Card:
    facts = literal_facts(source, _REQUIRED, _OPTIONAL)
    return Card(name=source.name, class_name=source.attribute, defined=source, **facts)
