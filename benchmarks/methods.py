"""Cost of the loss of each method, forward and backward: as published (`reference`) and `tuned`, interleaved.

python benchmarks/methods.py               every method that has both: at most 20 minutes on two idle cores
python benchmarks/methods.py --only mgd    selected methods
python benchmarks/methods.py --tiny        small maps and two rounds, to test that it runs

Rows are added to results/bench/methods.json one by one. An existing row is kept unless the method's code or the setting
changed, so the same command resumes where it was stopped. A new file in src/isoclock/methods is measured with its default params;
SETTINGS in method_rows.py has settings for other params.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from measure import ROOT, WIDTH, machine
from method_cost import measured, measured_step
from method_rows import FULL, TINY, rows_of
from rich.console import Console
from rich.table import Table

from isoclock.files import write_json
from isoclock.methods import REFERENCE, TUNED, cards
from isoclock.runner.device import choose_device
from isoclock.training.device import device_kind

SCHEMA = 1
UNMEASURED = "GPU: unmeasured"
LEAST_GAIN = 0.01  # of a step: less is not worth a second implementation


def show(document: Mapping[str, Any], kind: str) -> None:
    """The table of one device's rows."""
    here = document["devices"][kind]
    step, parts = here["step"], here["step"]["teacher_s"]
    headings = (
        "method",
        "K",
        "B",
        "threads",
        "reference ms",
        "tuned ms",
        "time",
        "95 %",
        "MiB",
        "memory",
        "share of a step",
        "gain of a step",
    )
    table = Table(*headings, title=f"Methods, reference / tuned, on {kind}")
    gains: dict[str, float] = {}  # the largest of each method
    for row in sorted(
        here["rows"].values(), key=lambda row: (row["method"], row["setting"], row["classes"], row["batch"])
    ):
        (slow_s, fast_s), (large, small), (most, least) = (
            (figures[REFERENCE], figures[TUNED])
            for figures in ({name: s["median"] for name, s in row["times_s"].items()}, row["memory_mib"], row["share"])
        )
        ratio, gain = row["ratio"], 1 - (1 - most) / (1 - least)  # of the whole step, of which the loss is a part
        gains[row["method"]] = max(gain, gains.get(row["method"], gain))
        table.add_row(
            " ".join(filter(None, [row["method"], row["setting"], "channels-last" if row["channels_last"] else ""])),
            str(row["classes"]) if row["depends_on_classes"] else "any",
            str(row["batch"]),
            str(row["threads"]),
            f"{1e3 * slow_s:.4g}",
            f"{1e3 * fast_s:.4g}",
            f"{'[green]' if row['wins_or_ties'] else '[red]'}{ratio['median']:.3g}x",
            f"{ratio['low']:.3g} .. {ratio['high']:.3g}",
            f"{large:.4g} / {small:.4g}",
            f"{large / small:.3g}x" if small > 0 else "-",
            f"{100 * most:.3g} / {100 * least:.3g} %",
            f"{100 * gain:.2g} %" if gain >= LEAST_GAIN else "less than 1 %",
        )
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH + 50
    console.print(table)
    console.print(
        f"Step of {step['pair']}, {step['crop'][0]}x{step['crop'][1]}, batch {step['batch']}: student {step['student_s']:.2f} s,"
        f" teacher {parts['backbone']:.2f} s to its backbone, {parts['head']:.2f} s to its logits."
    )
    small = [name for name, gain in gains.items() if gain < LEAST_GAIN]
    console.print(f"Gains less than 1 % of a step in every row: {', '.join(small) or 'none'}.")
    if not any(name.startswith("cuda") for name in document["devices"]):
        console.print(UNMEASURED)


def opened(path: Path, tiny: bool) -> dict[str, Any]:
    """The rows measured before; none if the file is of another kind."""
    if path.is_file():
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if document.get("schema") == SCHEMA and document.get("tiny") == tiny:
            return document
    return {"schema": SCHEMA, "tiny": tiny, "devices": {}}


def main() -> None:
    """Measure missing rows. A slow method is not a failure, a method that cannot run is."""
    both = [name for name, card in cards().items() if {REFERENCE, TUNED} <= set(card.implementations)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="methods (default: all that have both implementations)"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="images, instead of each setting's own")
    parser.add_argument("--classes", type=int, nargs="+", metavar="K", help="instead of 19 and 150")
    parser.add_argument("--channels-last", action="store_true", help="maps in that memory format; separate rows")
    parser.add_argument("--threads", type=int, metavar="N", help="of the CPU (default: as torch has it)")
    parser.add_argument("--again", action="store_true", help="measure existing rows again")
    parser.add_argument("--tiny", action="store_true", help="small maps, two rounds")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "bench" / "methods.json", metavar="FILE")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.only or ()) - set(both)):
        parser.error(f"unknown method {unknown[0]!r}; choose from those with two implementations: {', '.join(both)}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    scale, device = TINY if arguments.tiny else FULL, choose_device()
    if arguments.classes:
        scale = replace(scale, classes=tuple(arguments.classes))
    document, kind = opened(arguments.out, arguments.tiny), device_kind(device)
    here = document["devices"].setdefault(kind, {"device": device.type, "rows": {}})
    here["machine"] = machine()
    here["channels"] = {"student": asdict(scale.student), "teacher": asdict(scale.teacher)}
    if here.get("step", {}).get("threads") != torch.get_num_threads():
        print_step(f"a training step of {scale.pair}")
        here["step"] = measured_step(scale, device)
        write_json(arguments.out, document)
    failed: list[str] = []
    for group in rows_of(arguments.only or both, scale, arguments.batch, arguments.channels_last, arguments.tiny):
        for row in group:
            there = here["rows"].get(row.key)
            if arguments.again or there is None or any(there.get(key) != value for key, value in row.asked().items()):
                print_step(row.key)
                try:
                    there = here["rows"][row.key] = measured(row, scale, here["step"], device)
                except Exception as error:  # an error in one method must not stop the others
                    failed.append(f"{row.key}: {type(error).__name__}: {error}")
                    break
                gc.collect()
                write_json(arguments.out, document)
            if not there["depends_on_classes"]:
                break
    show(document, kind)
    print(arguments.out)
    if failed:
        sys.exit("\n".join(["could not be measured:", *failed]))


def print_step(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
