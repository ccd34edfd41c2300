"""The command line: one verb a step of the pipeline, and a few beside it. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
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
from isoclock.errors import EXIT_INTERRUPTED, EXIT_USER_ERROR, UserError

Verb = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0, 2 for the user's mistakes, 75 for a run that was stopped and can go on."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = _parser().parse_args(arguments)
    warnings.formatwarning = _one_line
    verb: Verb = parsed.verb
    with _logged(parsed.log, arguments):
        try:
            return verb(parsed)
        except UserError as error:
            for problem in error.problems:
                print(f"isoclock: {problem}", file=sys.stderr)
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


def _streets(arguments: argparse.Namespace) -> int:
    from isoclock.data.streets import make_streets
    from isoclock.progress import ProgressLine

    with ProgressLine(f"streets in {arguments.folder}") as progress:
        make_streets(arguments.folder, progress=progress.update)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from isoclock.checks import load_params

    params = load_params()
    if arguments.grid:
        from isoclock.grid import cells

        print(f"params/ is in order; grid {arguments.grid} has {len(cells(params, arguments.grid))} cells")
    else:
        print(f"params/ is in order; grids: {', '.join(params.grids)}")
    return 0


def _stamp(arguments: argparse.Namespace) -> int:
    from isoclock.checks import load_params
    from isoclock.grid import Layout
    from isoclock.stamps import refresh

    for path in refresh(load_params(), arguments.grid, Layout()):
        print(path)
    return 0


def _prepare(arguments: argparse.Namespace) -> int:
    from isoclock.checks import load_params
    from isoclock.data.prepare import prepare
    from isoclock.data.reader import find_reader
    from isoclock.data.unlabelled import raw_splits
    from isoclock.grid import Layout
    from isoclock.progress import ProgressLine

    name = arguments.dataset
    dataset = load_params().dataset(name)
    root = Path(os.environ.get(root_variable(name)) or dataset.root)
    with ProgressLine(f"prepare {name}") as progress:
        prepare(
            find_reader(dataset.reader),
            root,
            Layout().prepared(name),
            splits=raw_splits(dataset),
            size=dataset.size,
            storage=dataset.storage,
            images=dataset.images,
            labelled_images=dataset.labelled_images,
            labelled_seed=dataset.labelled_seed or 0,
            dataset=name,
            workers=arguments.workers,
            progress=progress,
        )
    return 0


def _teacher(arguments: argparse.Namespace) -> int:
    from isoclock.checks import load_params
    from isoclock.grid import Layout
    from isoclock.training.run import train_teacher

    return _training_status(train_teacher(load_params(), arguments.dataset, arguments.model, Layout()))


def _profile(arguments: argparse.Namespace) -> int:
    from isoclock.budget.profile import profile_method
    from isoclock.checks import load_params
    from isoclock.grid import Layout

    profile = profile_method(load_params(), arguments.dataset, arguments.pair, arguments.method, Layout())
    cost, marks = profile["cost"], profile["marks"]
    marked = f"; marked {', '.join(marks)}" if marks else ""
    print(
        f"{arguments.method}: {cost['ratio']:.3f} anchor-steps an iteration "
        f"[{cost['low']:.3f}, {cost['high']:.3f}], {profile['peak_mib']:.0f} MiB{marked}"
    )
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    if arguments.dry:
        return _plan_dry(arguments)
    if arguments.budget is None or arguments.grid or arguments.json or arguments.tflops is not None:
        raise UserError("plan: give DATASET PAIR BUDGET [METHOD], or --dry --grid NAME [--tflops T] [--json]")
    from isoclock.budget.plan import accept_budget, make_plan
    from isoclock.checks import load_params
    from isoclock.grid import Layout

    params, layout = load_params(), Layout()
    where = (arguments.dataset, arguments.pair)
    if arguments.method is not None and arguments.refresh_budget:
        raise UserError("plan: --refresh-budget is about the budget, for every method: leave the method out")
    if arguments.method is None:
        accept_budget(params, *where, arguments.budget, layout, refresh=arguments.refresh_budget)
    else:
        make_plan(params, *where, arguments.method, arguments.budget, layout, study=arguments.study)
    return 0


def _plan_dry(arguments: argparse.Namespace) -> int:
    from isoclock.artifacts import to_json
    from isoclock.budget.forecast import forecast
    from isoclock.checks import load_params
    from isoclock.grid import Layout
    from isoclock.report.forecast import print_forecast

    if arguments.dataset is not None:
        raise UserError("plan: --dry is about a whole grid; name it with --grid, and nothing else")
    found = forecast(load_params(), arguments.grid or "demo", Layout(), tflops=arguments.tflops)
    if arguments.json:
        print(to_json(found.as_json()), end="")
    else:
        print_forecast(found)
    return 0


def _student(arguments: argparse.Namespace) -> int:
    from isoclock.checks import load_params
    from isoclock.grid import Cell, Layout
    from isoclock.training.run import train_student

    return _training_status(train_student(load_params(), Cell.parse(arguments.cell), Layout()))


def _evaluate(arguments: argparse.Namespace) -> int:
    from isoclock.checks import load_params
    from isoclock.grid import Cell, Layout
    from isoclock.scoring.score import evaluate_cell
    from isoclock.training.device import choose_device

    scores = evaluate_cell(load_params(), Cell.parse(arguments.cell), Layout(), choose_device())
    print(f"{arguments.cell}: mIoU {scores.miou:.4f}" if scores.miou is not None else f"{arguments.cell}: diverged")
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from isoclock.budget.audit import audit
    from isoclock.checks import load_params
    from isoclock.grid import Layout, cells
    from isoclock.report import build_report, print_table

    params, layout = load_params(), Layout()
    grid_cells = cells(params, arguments.grid)
    if arguments.table_only:
        print_table(layout.results, [cell.as_dict() for cell in grid_cells], audit(grid_cells, layout))
        return 0
    page = build_report(
        layout.results,
        [cell.as_dict() for cell in grid_cells],
        arguments.grid,
        layout.report(arguments.grid),
        audit=audit(grid_cells, layout),
        published=list(params.published.values()),
    )
    print(page)
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    from isoclock.budget.audit import audit
    from isoclock.checks import load_params
    from isoclock.grid import Layout, cells
    from isoclock.report.audit import print_audit

    grid_cells = cells(load_params(), arguments.grid)
    print_audit(audit(grid_cells, Layout()), len(grid_cells))
    return 0


def _adopt(arguments: argparse.Namespace) -> int:
    from isoclock.adopt import adopt
    from isoclock.checks import load_params
    from isoclock.grid import Layout

    adopt(load_params(), arguments.grid, Layout())
    return 0


def _sync(arguments: argparse.Namespace) -> int:
    from isoclock.checks import load_params
    from isoclock.grid import RESULTS, RUNS, cells
    from isoclock.tracking import sync, watch

    grid_cells = [cell.as_dict() for cell in cells(load_params(), arguments.grid)]
    run = watch if arguments.watch else sync
    summary = run(RESULTS, RUNS, None, grid_name=arguments.grid, cells=grid_cells, progress=print)
    for problem in summary.problems:
        print(f"isoclock: {problem}", file=sys.stderr)
    print(summary.line)
    return EXIT_USER_ERROR if summary.problems else 0


def _ui(arguments: argparse.Namespace) -> int:
    from isoclock.checks import load_params
    from isoclock.grid import RESULTS, RUNS, cells
    from isoclock.tracking import serve_ui

    grid_cells = [cell.as_dict() for cell in cells(load_params(), arguments.grid)]
    return serve_ui(
        None, RESULTS, RUNS, grid_name=arguments.grid, cells=grid_cells, host=arguments.host, port=arguments.port
    )


def _methods(arguments: argparse.Namespace) -> int:
    from isoclock.checks import load_params
    from isoclock.report.methods import print_methods

    print_methods(load_params(), as_json=arguments.json)
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from isoclock.cluster.doctor import examine, report

    return report(examine(try_job=not arguments.no_job))


def root_variable(dataset: str) -> str:
    """Environment variable that says where the raw files of a data set lie, such as ISOCLOCK_ROOT_CAMVID."""
    return f"ISOCLOCK_ROOT_{dataset.upper().replace('-', '_').replace('.', '_')}"


def _training_status(status: str) -> int:
    if status == "stopped":
        print("isoclock: stopped, state saved; the same command goes on from there", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


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

    def add(name: str, verb: Verb, about: str, *positional: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=about, description=about)
        sub.set_defaults(verb=verb)
        for argument in positional:
            sub.add_argument(argument)
        return sub

    def with_grid(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        sub.add_argument("--grid", default="demo", help="a file of params/grids, without .yaml (default: demo)")
        return sub

    prepare = add("prepare", _prepare, "check a raw data set and pack it", "dataset")
    prepare.add_argument("--workers", type=_whole(1), default=os.cpu_count() or 1, help="threads (default: all cores)")
    add("teacher", _teacher, "train a teacher", "dataset", "model")
    about = "measure what an iteration of a method costs; a ratio within 2 per cent of the accepted one keeps the accepted profile"
    add("profile", _profile, about, "dataset", "pair", "method")
    plan = add("plan", _plan, "turn a budget into iterations, or tell what a grid will take (--dry)")
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
    add("student", _student, "train a student for its planned iterations", "cell")
    add("evaluate", _evaluate, "score a trained student", "cell")
    report = with_grid(add("report", _report, "tables, figures and one HTML page of a grid"))
    report.add_argument("--table-only", action="store_true", help="print the comparison table, write nothing")
    with_grid(add("audit", _audit, "compare the time spent with the time planned"))
    with_grid(
        add("adopt", _adopt, "take results from elsewhere (dvc pull) as made here, once every digest is verified")
    )
    sync = with_grid(add("sync", _sync, "bring MLflow up to date from the run records"))
    sync.add_argument("--watch", action="store_true", help="go on doing so until stopped")
    ui = with_grid(add("ui", _ui, "serve the MLflow UI and keep it up to date"))
    ui.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    ui.add_argument("--port", type=_whole(1, 65535), default=5000)
    streets = add("streets", _streets, "make the embedded data set")
    streets.add_argument("folder", type=Path, nargs="?", default=Path("data/streets"))
    check = add("check", _check, "check params/ without running anything")
    check.add_argument("--grid", help="also count its cells")
    with_grid(add("stamp", _stamp, "write what each rule depends on, where it changed"))
    doctor = add("doctor", _doctor, "what is missing on this machine and its cluster, and what to change")
    doctor.add_argument("--no-job", action="store_true", help="only ask SLURM, start no job on it")
    methods = add("methods", _methods, "list the method variants: terms, weights, taps, sources, published numbers")
    methods.add_argument("--json", action="store_true", help="everything that is known of them, for programs")
    return parser
