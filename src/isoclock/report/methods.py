"""What `isoclock methods` tells: the variants of params/methods.yaml, beside what their methods' files say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from isoclock.files import to_json
from isoclock.methods.card import cards
from isoclock.params.load import Params
from isoclock.params.schema import Method

LOG_WIDTH = 160  # columns, where there is no terminal
OUTPUTS = ("logits", "aux_logits", "backbone", "head")
_HEADINGS = ("variant", "implementation", "terms x weight", "taps", "parameters", "method, source, published mIoU")


def describe(params: Params) -> list[dict[str, Any]]:
    """Every variant, as plain data, those of one method side by side."""
    found = []
    order = list(dict.fromkeys(entry.method for entry in params.methods.values()))
    for name, entry in sorted(params.methods.items(), key=lambda item: order.index(item[1].method)):
        card = cards()[entry.method]
        about: dict[str, Any] = {
            "variant": name,
            "method": entry.method,
            "title": card.title,
            "implementation": entry.implementation,
            "implementations": list(card.implementations),
            "weights": dict(entry.weights),
            "weights_for": {dataset: dict(weights) for dataset, weights in entry.weights_for.items()},
            "extras": list(entry.extras),
            "taps": outputs_read(params, entry),
            "params": dict(card.defaults(), **entry.params),
            "provenance": dict(entry.provenance),
            "source": card.source,
            "published_weights": dict(card.published),
            "published_miou": [dict(score) for score in card.miou],
        }
        found.append(about)
    return found


def outputs_read(params: Params, entry: Method) -> list[str]:
    """Outputs of the networks that a variant and its extras read, as far as their files state it."""
    read: set[str] = set()
    for part in (entry, *(params.methods[extra] for extra in entry.extras)):
        read |= cards()[part.method].outputs_read(part.params, part.active_terms())
    return [output for output in OUTPUTS if output in read]


def print_methods(params: Params, *, as_json: bool = False) -> None:
    """A table of all variants; or, for programs, the whole of what is known of them."""
    variants = describe(params)
    if as_json:
        print(to_json(variants), end="")
        return
    console = Console(markup=False)  # a source may have brackets in it
    if not console.is_terminal:
        console.width = LOG_WIDTH
    table = Table(*_HEADINGS, title="Methods")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for number, variant in enumerate(variants):
        first = not number or variants[number - 1]["method"] != variant["method"]
        if first and number:
            table.add_section()
        table.add_row(
            variant["variant"],
            variant["implementation"],
            _terms(variant),
            ", ".join(variant["taps"]) or "-",
            ", ".join(f"{key}={_spelled(value)}" for key, value in variant["params"].items()) or "-",
            _about(variant) if first else "",
        )
    console.print(table)
    if without := sorted(set(cards()) - {entry.method for entry in params.methods.values()}):
        console.print(f"Without an entry in {params.folder / 'methods.yaml'}: {', '.join(without)}")


def told_score(score: Mapping[str, Any]) -> str:
    """A published mIoU in one line: data set, student, from what to what, teacher, source."""
    gain = score["miou"] if score.get("from") in (None, "") else f"{score['from']} -> {score['miou']}"
    teacher = f" (teacher {score['teacher']})" if score.get("teacher") else ""
    return f"{score['dataset']} {score['student']} {gain}{teacher}; {score['source']}"


def _terms(variant: Mapping[str, Any]) -> str:
    active = [f"{term} x {weight:g}" for term, weight in variant["weights"].items() if weight > 0]
    return ", ".join([*active, *(f"+ {extra}" for extra in variant["extras"])]) or "-"


def _about(variant: Mapping[str, Any]) -> str:
    scores = [told_score(score) for score in variant["published_miou"]]
    return "\n".join([f"{variant['method']}: {variant['title']}", variant["source"], *scores])


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
