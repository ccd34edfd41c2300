"""Run the benchmarks: print one table, and write every sample and the machine to results/bench/bench.json.

python benchmarks/run.py [NAME ...]      all of them, or some (about five minutes on two cores)
python benchmarks/run.py --tiny          a few samples each, to test that they run
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from measure import ROOT, machine, show

from isoclock.files import write_json

TINY: dict[str, dict[str, Any]] = {
    "engine_step": {"windows": 2, "steps": 2, "batch": 2, "crop": (32, 64)},
    "ledger": {"rounds": 2, "lines": 20, "steps": 1, "batch": 2, "crop": (32, 64)},
    "ledger_reading": {"rounds": 1, "lines": 2000},
    "cli_help": {"rounds": 1},
    "dry_run": {"rounds": 1, "cells": 20},
    "plan_dry": {"rounds": 1, "cells": 20},
    "status": {"rounds": 1, "cells": 20},
    "data": {"rounds": 2, "batches": 1, "images": 2, "size": (64, 128), "crop": (32, 64)},
    "scoring": {"rounds": 2, "images": 2, "size": (64, 128)},
    "task_loss": {"rounds": 2, "scale": 8},
    "storage": {"rounds": 2, "crops": 2, "images": 2, "size": (64, 128), "crop": (32, 64)},
}


def main() -> None:
    """Run benchmarks by name, in order. The exit status does not depend on the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"choose from {', '.join(TINY)} (default: all)")
    parser.add_argument("--tiny", action="store_true", help="a few samples each")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench" / "bench.json", metavar="FILE")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(TINY)):
        parser.error(f"unknown benchmark {unknown[0]!r}; choose from {', '.join(TINY)}")
    taken_on = machine()
    results = []
    for name in arguments.names or TINY:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results.append(importlib.import_module(name).measure(**(TINY[name] if arguments.tiny else {})))
    measured = {result.name: result.as_json() for result in results}
    write_json(arguments.out, {"schema": 1, "tiny": arguments.tiny, "machine": taken_on, "benchmarks": measured})
    show(results)
    print(arguments.out)


if __name__ == "__main__":
    main()
