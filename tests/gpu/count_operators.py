"""Counts operator calls and bytes of the losses of every entry, in a training step on fake CUDA tensors. Needs no GPU.

    python tests/gpu/count_operators.py --write        rewrites operators.json, which a test compares with

Run it after a change that adds or saves operators, and commit the file with the change.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from fake_steps import cases, repository_params, run_entry

FILE = Path(__file__).with_name("operators.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"rewrite {FILE.name}")
    parser.add_argument("--out", type=Path, help="write all findings to this JSON file")
    parser.add_argument("--first", action="store_true", help="only the first entry of each method")
    arguments = parser.parse_args()
    if arguments.first and arguments.write:
        parser.error("--write needs all entries; leave out --first")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    params = repository_params()
    found: dict[str, dict[str, Any]] = {}
    for dataset, name, implementation in cases(params, further=not arguments.first):
        result = run_entry(params, dataset, name, implementation)
        found.setdefault(dataset, {})[f"{name} {implementation}"] = asdict(result)
        for problem in result.problems:
            print(f"{dataset} {name} {implementation}: {problem}", file=sys.stderr, flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(found))
    if arguments.write:
        counts = {dataset: {key: row["counts"] for key, row in rows.items()} for dataset, rows in found.items()}
        FILE.write_text(_formatted(counts))
    elif not arguments.out:
        print(json.dumps(found, indent=1))


def _formatted(counts: Mapping[str, Mapping[str, Any]]) -> str:
    """JSON with a line for each row: calls, and MiB read and written, of each phase."""
    parts = [f'"torch": "{minor_release(torch.__version__)}"']
    for dataset, rows in counts.items():
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in rows.items())
        parts.append(f'"{dataset}": {{\n{lines}\n}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def minor_release(version: str) -> str:
    """Major and minor number of a version of torch."""
    return ".".join(version.split(".")[:2])


if __name__ == "__main__":
    main()
