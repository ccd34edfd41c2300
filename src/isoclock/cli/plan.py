"""Turn a budget into iterations, or forecast what a grid will take (--dry)."""

from __future__ import annotations

import argparse

from isoclock.cli.shared import GRID, add_names, positive
from isoclock.errors import UserError

EXAMPLE = "plan streets r10t-tiny compute-140 kd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_names(parser, "dataset", "pair", "budget", optional=True)
    help_ = "a method of params/methods.yaml, such as kd; without it, the budget itself is resolved and accepted"
    parser.add_argument("method", nargs="?", help=help_)
    parser.add_argument(
        "--dry", action="store_true", help="show a grid's jobs, device hours and GB; nothing is planned"
    )
    parser.add_argument("--grid", help=f"with --dry: {GRID} (the default)")
    parser.add_argument(
        "--tflops",
        type=positive,
        metavar="T",
        help="with --dry: 1e12 operations a second, such as 20, used without a profile",
    )
    parser.add_argument("--json", action="store_true", help="with --dry: print JSON")
    parser.add_argument(
        "--refresh-budget", action="store_true", help="resolve an accepted budget again from its yardstick's profile"
    )
    parser.add_argument("--study", action="store_true", help="refuse profiles that have marks")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    if arguments.dry:
        return _dry(arguments)
    if arguments.budget is None or arguments.grid or arguments.json or arguments.tflops is not None:
        raise UserError("plan: give DATASET PAIR BUDGET [METHOD], or --dry --grid NAME [--tflops T] [--json]")
    if arguments.method is not None and arguments.refresh_budget:
        raise UserError("plan: --refresh-budget applies to all methods; leave METHOD out")
    from isoclock.budget.plan import accept_budget, make_plan
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params

    params, layout = load_params(), Layout()
    where = (arguments.dataset, arguments.pair)
    if arguments.method is None:
        accept_budget(params, *where, arguments.budget, layout, refresh=arguments.refresh_budget)
    else:
        make_plan(params, *where, arguments.method, arguments.budget, layout, study=arguments.study)
    return 0


def _dry(arguments: argparse.Namespace) -> int:
    from isoclock.budget.forecast import forecast
    from isoclock.files import to_json
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.report.forecast_table import print_forecast

    if arguments.dataset is not None:
        raise UserError("plan: --dry forecasts a whole grid; use --grid NAME and no DATASET")
    found = forecast(load_params(), arguments.grid or "demo", Layout(), tflops=arguments.tflops)
    if arguments.json:
        print(to_json(found.as_json()), end="")
    else:
        print_forecast(found)
    return 0
