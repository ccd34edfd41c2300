"""The command line: one verb a step of the pipeline, and a few beside it. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from isoclock import __version__
from isoclock.errors import EXIT_USER_ERROR, UserError, missing_package


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0, 2 for the user's mistakes, 75 for a run that was stopped and can go on."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = _parser().parse_args(arguments)
    # Threads that wait for each other sleep. By default they spin, and where another process wants the core a training step
    # takes several times as long. The OpenMP library reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.formatwarning = _one_line
    with _logged(parsed.log, arguments):
        try:
            verb = importlib.import_module(f"isoclock.cli.{parsed.verb}")
            return int(verb.run(parsed))
        except UserError as error:
            for problem in error.problems:
                print(f"isoclock: {problem}", file=sys.stderr)
            return EXIT_USER_ERROR
        except ModuleNotFoundError as error:
            print(f"isoclock: {missing_package(error)}", file=sys.stderr)
            return EXIT_USER_ERROR
        except KeyboardInterrupt:
            return 130


def _one_line(message: Warning | str, *_where: object, **_more: object) -> str:
    """A warning as the user needs it: what, not where in our code."""
    return f"isoclock: warning: {message}\n"


class _Both(io.TextIOBase):
    """Writes to the terminal and to logs. Not a pipe into `tee`: a signal to the whole job would kill that first."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
            stream.flush()
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()


@contextmanager
def _logged(path: Path | None, command: Sequence[str]) -> Iterator[None]:
    """Write what is printed to `path` too, and behind what earlier attempts printed to `<path>.attempts.log` beside it.

    Two files, since Snakemake removes a rule's log before each attempt.
    """
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("w", encoding="utf-8") as log,
        path.with_suffix(".attempts.log").open("a", encoding="utf-8") as attempts,
        redirect_stdout(_Both(sys.stdout, log, attempts)),
        redirect_stderr(_Both(sys.stderr, log, attempts)),
    ):
        began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        attempts.write(f"=== {began}, process {os.getpid()} on {socket.gethostname()}: isoclock {' '.join(command)}\n")
        try:
            yield
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(
                f"{value}: must be at least {least}{f' and at most {most}' if most else ''}"
            )
        return value

    return number


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{value}: must be above 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="isoclock",
        description="Knowledge distillation for semantic segmentation, compared at equal training time.",
    )
    parser.add_argument("--version", action="version", version=f"isoclock {__version__}")
    parser.add_argument("--log", type=Path, help="also write what is printed to this file")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def add(name: str, about: str, *positional: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=about, description=about)
        sub.set_defaults(verb=name)
        for argument in positional:
            sub.add_argument(argument)
        return sub

    def with_grid(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub.add_argument("--grid", default="demo", help="a file of params/grids, without .yaml (default: demo)")
        return sub

    def with_study(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--study", action="store_true", help="refuse a precision that is slow on this device")

    prepare = add("prepare", "check a raw data set and pack it", "dataset")
    prepare.add_argument("--workers", type=_whole(1), default=os.cpu_count() or 1, help="threads (default: all cores)")
    with_study(add("teacher", "train a teacher", "dataset", "model"))
    about = "measure what an iteration of a method costs; a ratio within 2 per cent of the accepted one keeps the accepted profile"
    with_study(add("profile", about, "dataset", "pair", "method"))
    plan = add("plan", "turn a budget into iterations, or tell what a grid will take (--dry)")
    for positional in ("dataset", "pair", "budget"):
        plan.add_argument(positional, nargs="?")
    plan.add_argument("method", nargs="?", help="without it, the budget itself is resolved and accepted")
    plan.add_argument("--dry", action="store_true", help="jobs and device hours of a grid by stage; nothing is written")
    plan.add_argument("--grid", help="with --dry: a file of params/grids, without .yaml (default: demo)")
    plan.add_argument("--tflops", type=_rate, help="with --dry: 1e12 operations a second, where no profile tells")
    plan.add_argument("--json", action="store_true", help="with --dry: for programs")
    plan.add_argument(
        "--refresh-budget", action="store_true", help="resolve an accepted budget anew from its yardstick's profile"
    )
    plan.add_argument("--study", action="store_true", help="refuse profiles that are marked")
    with_study(add("student", "train a student for its planned iterations", "cell"))
    evaluate = add("evaluate", "score a trained student or teacher")
    evaluate.add_argument("trained", help="a student's cell, or a teacher as dataset/model")
    report = with_grid(add("report", "tables, figures and one HTML page of a grid"))
    report.add_argument("--table-only", action="store_true", help="print the comparison table, write nothing")
    with_grid(add("audit", "compare the time spent with the time planned"))
    with_grid(add("adopt", "take results from elsewhere (dvc pull) as made here, once every digest is verified"))
    sync = with_grid(add("sync", "bring MLflow up to date from the run records"))
    sync.add_argument("--watch", action="store_true", help="go on doing so until stopped")
    ui = with_grid(add("ui", "serve the MLflow UI and keep it up to date"))
    ui.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    ui.add_argument("--port", type=_whole(1, 65535), default=5000)
    streets = add("streets", "make the embedded data set")
    streets.add_argument("folder", type=Path, nargs="?", default=Path("data/streets"))
    check = add("check", "check params/ without running anything")
    check.add_argument("--grid", help="also count its cells")
    with_grid(add("stamp", "write what each rule depends on, where it changed"))
    doctor = add("doctor", "what is missing on this machine and its cluster, and what to change")
    doctor.add_argument("--no-job", action="store_true", help="only ask SLURM, start no job on it")
    methods = add("methods", "list the method variants: terms, weights, taps, sources, published numbers")
    methods.add_argument("--json", action="store_true", help="everything that is known of them, for programs")
    return parser
