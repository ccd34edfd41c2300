"""The verb `plan`: turn a budget into iterations, or tell what a grid will take."""

from __future__ import annotations

import argparse

from isoclock.budget.plan import accept_budget, make_plan
from isoclock.errors import UserError
from isoclock.files import to_json
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    if arguments.dry:
        return _dry(arguments)
    if arguments.budget is None or arguments.grid or arguments.json or arguments.tflops is not None:
        raise UserError("plan: give DATASET PAIR BUDGET [METHOD], or --dry --grid NAME [--tflops T] [--json]")
    params, layout = load_params(), Layout()
    where = (arguments.dataset, arguments.pair)
    if arguments.method is not None and arguments.refresh_budget:
        raise UserError("plan: --refresh-budget is about the budget, for every method: leave the method out")
    if arguments.method is None:
        accept_budget(params, *where, arguments.budget, layout, refresh=arguments.refresh_budget)
    else:
        make_plan(params, *where, arguments.method, arguments.budget, layout, study=arguments.study)
    return 0


def _dry(arguments: argparse.Namespace) -> int:
    from isoclock.budget.forecast import forecast  # here: a plan itself is arithmetic, and needs no OpenCV
    from isoclock.report.forecast_table import print_forecast

    if arguments.dataset is not None:
        raise UserError("plan: --dry is about a whole grid; name it with --grid, and nothing else")
    found = forecast(load_params(), arguments.grid or "demo", Layout(), tflops=arguments.tflops)
    if arguments.json:
        print(to_json(found.as_json()), end="")
    else:
        print_forecast(found)
    return 0
