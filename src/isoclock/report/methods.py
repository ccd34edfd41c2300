"""The table that `isoclock methods` prints."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from isoclock.methods.card import cards
from isoclock.params import Params


def print_methods(params: Params) -> None:
    """Every variant of params/methods.yaml: its method, implementation, terms with weights, parameters and source."""
    table = Table("variant", "method", "implementation", "terms x weight", "parameters", "source", title="Methods")
    for name, entry in params.methods.items():
        card = cards()[entry.method]
        terms = ", ".join(f"{term} x {weight:g}" for term, weight in entry.weights.items() if weight > 0)
        values = ", ".join(f"{key}={value}" for key, value in {**card.defaults(), **entry.params}.items())
        table.add_row(name, card.title, entry.implementation, terms or "-", values or "-", card.source)
    Console().print(table)
