"""The output of `isoclock methods`: the variants of params/methods.yaml with the facts of their methods and published scores."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from isoclock.files import to_json
from isoclock.methods.card import cards
from isoclock.params.load import Params
from isoclock.params.schema import MethodEntry, Published
from isoclock.progress import table_console

_HEADINGS = ("variant", "implementation", "terms x weight", "taps")


def describe(params: Params) -> list[dict[str, Any]]:
    """Every variant as plain data, the variants of one method next to each other."""
    order = list(dict.fromkeys(entry.method for entry in params.methods.values()))
    names = sorted(params.methods, key=lambda name: order.index(params.methods[name].method))
    return [describe_variant(params, name) for name in names]


def describe_variant(params: Params, name: str) -> dict[str, Any]:
    """One variant as plain data. Raises ParamsError if there is none of that name."""
    entry = params.method(name)
    card = cards()[entry.method]
    return {
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
        "published_miou": [_score(row) for row in published_rows_of(params, entry.method)],
    }


def published_rows_of(params: Params, method: str) -> list[Published]:
    """The rows of params/published.yaml for a method, in the order of the file."""
    return [row for row in params.published.values() if row.method_name == method]


def outputs_read(params: Params, entry: MethodEntry) -> list[str]:
    """Outputs of the networks that a variant and its extras read, as far as their files state it; sorted."""
    read: set[str] = set()
    for part in (entry, *(params.methods[extra] for extra in entry.extras)):
        read |= cards()[part.method].outputs_read(part.params, part.active_terms())
    return sorted(read)


def print_methods(params: Params, name: str | None = None, *, as_json: bool = False) -> None:
    """Print a table of all variants, or everything about the variant called `name`; as JSON what `describe` returns.

    Raises ParamsError for an unknown name.
    """
    variants = describe(params) if name is None else [describe_variant(params, name)]
    if as_json:
        print(to_json(variants), end="")
        return
    console = table_console()
    if name is not None:
        console.print(Text(_card(variants[0], min(console.width, 100))))
        return
    table = Table(*_HEADINGS, title="Methods")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    first_of = {variant["method"]: variant for variant in reversed(variants)}
    for variant in variants:
        if variant is first_of[variant["method"]]:
            table.add_section()
        cells = (variant["variant"], variant["implementation"], _terms(variant), ", ".join(variant["taps"]) or "-")
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    for variant in reversed(first_of.values()):
        console.print(Text(_about(variant)))  # not markup: a source may contain brackets
    console.print("`isoclock methods NAME` shows the parameters of a variant and where its values are from.")
    if without := sorted(set(cards()) - {entry.method for entry in params.methods.values()}):
        console.print(f"Without an entry in {params.folder / 'methods.yaml'}: {', '.join(without)}")


def _card(variant: Mapping[str, Any], width: int) -> str:
    """Everything about a variant in lines of at most `width` characters."""
    lines = [f"{variant['variant']}: {variant['title']}"]

    def add(name: str, text: str) -> None:
        if text:
            first, further = f"  {name:16}", " " * 18
            lines.extend(
                textwrap.wrap(text, width, initial_indent=first, subsequent_indent=further, break_on_hyphens=False)
            )

    add("method", f"{variant['method']} ({variant['implementation']} of {', '.join(variant['implementations'])})")
    add("terms", _terms(variant))
    for dataset, weights in variant["weights_for"].items():
        add(f"on {dataset}", ", ".join(f"{term} x {weight:g}" for term, weight in weights.items()))
    add("taps", ", ".join(variant["taps"]))
    for key, value in variant["params"].items():
        add(key, _format(value))
    for key, text in variant["provenance"].items():
        add("provenance", f"{key}: {text}")
    add("source", variant["source"])
    for key, value in variant["published_weights"].items():
        add("published", f"{key}: {value}")
    for score in variant["published_miou"]:
        add("published mIoU", _score_line(score))
    return "\n".join(lines)


def _score(row: Published) -> dict[str, Any]:
    return row.model_dump(exclude={"provenance", "method_name", "in_report"}) | {"source": row.source}


def _score_line(score: Mapping[str, Any]) -> str:
    share = score["teacher_share"]
    reached = score["miou"] if share is None else f"{100 * share:g} % of the teacher"
    gain = reached if score["undistilled"] is None else f"{score['undistilled']} -> {reached}"
    teacher = f"{score['teacher']} {score['teacher_miou'] or ''}".strip()
    return f"{score['dataset']} {score['student']} {gain} (teacher {teacher}); {score['method']}; {score['source']}"


def _terms(variant: Mapping[str, Any]) -> str:
    active = [f"{term} x {weight:g}" for term, weight in variant["weights"].items() if weight > 0]
    return ", ".join([*active, *(f"+ {extra}" for extra in variant["extras"])]) or "-"


def _about(variant: Mapping[str, Any]) -> str:
    scores = [_score_line(score) for score in variant["published_miou"]]
    return "\n  ".join([f"{variant['method']}: {variant['title']}", variant["source"], *scores])


def _format(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
