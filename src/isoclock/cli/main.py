"""The command line: parser, log and exit status. The verbs are the other files of this package.

Each verb has a docstring, which is its help, `add_arguments(parser)` and `run(arguments)`, which returns the exit status.
All of them are imported for `isoclock --help`, so a verb imports what it needs inside `run`.
"""

from __future__ import annotations

import argparse
import io
import os
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NoReturn, TextIO

from isoclock import __version__
from isoclock.errors import EXIT_USER_ERROR, UserError, missing_package, one_line
from isoclock.modules import modules_of
from isoclock.runner.gpu_failures import gpu_failure
from isoclock.text import redacted, safe

# These verbs come first in the help, in this order; the others follow by name.
_PIPELINE = ("prepare", "teacher", "profile", "plan", "student", "evaluate", "report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0, 2 for a user error, 75 for a run that was stopped and can continue."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # characters that a terminal does not have are printed as escapes
            stream.reconfigure(errors="backslashreplace")
    parsed = _parser().parse_args(arguments)
    # Waiting threads sleep. By default they spin, and a training step takes several times as long where another process
    # needs the core. The OpenMP library reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.formatwarning = _format_warning
    with _logged(parsed.log, arguments):
        try:
            return int(parsed.run(parsed))
        except UserError as error:
            for problem in error.problems:
                print(f"isoclock: {redacted(problem)}", file=sys.stderr)
            return EXIT_USER_ERROR
        except RuntimeError as error:
            if (failure := gpu_failure(str(error))) is None:
                raise
            print(f"isoclock: {failure[1]}; {failure[2]}", file=sys.stderr)
            return EXIT_USER_ERROR
        except ModuleNotFoundError as error:
            print(f"isoclock: {missing_package(error)}", file=sys.stderr)
            return EXIT_USER_ERROR
        except KeyboardInterrupt:
            return 130


def _format_warning(message: Warning | str, *_where: object, **_more: object) -> str:
    """A warning without the file and line that raised it."""
    return f"isoclock: warning: {safe(str(message))}\n"


class _Tee(io.TextIOBase):
    """Writes to the terminal and to logs, without credentials.

    A pipe into `tee` would not do: a signal to the whole job kills `tee` first.
    """

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        shown = redacted(text)
        for stream in self._streams:
            stream.write(shown)
            stream.flush()
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()


@contextmanager
def _logged(path: Path | None, command: Sequence[str]) -> Iterator[None]:
    """Also write what is printed to `path`, and append it to `<path>.attempts.log`.

    Two files, since Snakemake removes a rule's log before each attempt.
    """
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("w", encoding="utf-8", errors="backslashreplace") as log,
        path.with_suffix(".attempts.log").open("a", encoding="utf-8", errors="backslashreplace") as attempts,
        redirect_stdout(_Tee(sys.stdout, log, attempts)),
        redirect_stderr(_Tee(sys.stderr, log, attempts)),
    ):
        began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f"=== {began}, process {os.getpid()} on {socket.gethostname()}: isoclock {' '.join(command)}"
        attempts.write(one_line(redacted(line)) + "\n")
        try:
            yield
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the usage and `message`, which repeats words of the command line, and exit with status 2."""
        super().error(one_line(redacted(message)))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="isoclock",
        description="Knowledge distillation for semantic segmentation, compared at equal training time.",
    )
    parser.add_argument("--version", action="version", version=f"isoclock {__version__}")
    parser.add_argument("--log", type=Path, help="also write what is printed to this file")
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for name, verb in modules_of("cli", first=_PIPELINE, without=("main", "shared")).items():
        about = verb.__doc__ or ""  # None under python -OO
        summary = about.partition("\n")[0].replace("%", "%%")  # argparse formats `help`, not `description`
        subparser = subparsers.add_parser(name.replace("_", "-"), help=summary, description=about)
        verb.add_arguments(subparser)
        subparser.set_defaults(run=verb.run)
    return parser
