"""The command line: parser, log and exit status. The verbs are the other files of this package.

Each verb has a docstring, which is its help, an EXAMPLE, `add_arguments(parser)` and `run(arguments)`, which returns the exit
status.
All of them are imported for `isoclock --help`, so a verb imports what it needs inside `run`.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import FileIO
from pathlib import Path
from typing import NoReturn, TextIO

from isoclock import __version__
from isoclock.errors import EXIT_USER_ERROR, UserError, missing_package, one_line
from isoclock.hints import choices
from isoclock.modules import modules_of
from isoclock.os_failures import naming, os_problem
from isoclock.runner.gpu_failures import gpu_failure
from isoclock.text import redacted, safe

# These verbs come first in the help, in this order; the others follow by name.
_PIPELINE = ("prepare", "teacher", "profile", "plan", "student", "evaluate", "report")
_CHOICE = re.compile(r"VERB: invalid choice: '(.*)' \(choose from (.*)\)")
_OUTPUT = Path("standard output")  # in messages


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
    status = _status(lambda: _logged(parsed.log, arguments, lambda: int(parsed.run(parsed))))
    error = _output_error()
    return status if error is None else status or _reported(error)


def _status(run: Callable[[], int]) -> int:
    """Exit status of `run`; 2 after an error that the user can fix, 130 after Ctrl-C."""
    try:
        return run()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _reported(error)


def _reported(error: Exception) -> int:
    """Print what the user can fix, and return 2. A fault of the program is raised."""
    if (problems := _problems(error)) is None:
        raise error
    with suppress(OSError):  # the output may be what cannot be written
        for problem in problems:
            print(f"isoclock: {redacted(problem)}", file=sys.stderr)
    return EXIT_USER_ERROR


def _problems(error: Exception) -> list[str] | None:
    """What the user can fix, one line each; None for a fault of the program."""
    if isinstance(error, UserError):
        return error.problems
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error).problems
    if isinstance(error, BrokenPipeError):  # such as `isoclock methods | head -1`
        return []
    failure = gpu_failure(str(error)) if isinstance(error, RuntimeError) else None
    if failure is not None:
        return [f"{failure[1]}; {failure[2]}"]
    if (problem := os_problem(error)) is not None:
        return problem.problems
    from isoclock.discovery import plugin_line  # here: only mistakes need it

    if (where := plugin_line(error)) is None:
        return None
    return UserError(f"{where}: {type(error).__name__}: {error}").problems


def _output_error() -> OSError | None:
    """Write what is left of the output; the error if that fails."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails once more when it ends
        error.filename = _OUTPUT
        return error
    return None


def _format_warning(message: Warning | str, *_where: object, **_more: object) -> str:
    """A warning without the file and line that raised it."""
    return f"isoclock: warning: {safe(str(message))}\n"


class _Logs:
    """The log of this attempt, and that of all attempts. Where one cannot be written, a line says so and the verb goes on."""

    def __init__(self, path: Path, command: Sequence[str]) -> None:
        if path.exists() and not path.is_file():
            raise UserError(f"--log {path}: not a regular file; choose another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two files, since Snakemake removes a rule's log before each attempt. Unbuffered: nothing is left to write at the end.
        self._files = [path.open("wb", buffering=0)]
        self._files.append(path.with_suffix(".attempts.log").open("ab", buffering=0))
        self._terminal = sys.stderr
        began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f"=== {began}, process {os.getpid()} on {socket.gethostname()}: isoclock {' '.join(command)}"
        self.write(one_line(redacted(line)) + "\n", self._files[1:])

    def write(self, text: str, files: Sequence[FileIO] | None = None) -> None:
        """Write to the given files, by default to both."""
        for file in self._files if files is None else files:
            left = memoryview(text.encode(errors="backslashreplace"))
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError as error:
                self._files = []
                with suppress(OSError):
                    print(one_line(f"isoclock: {file.name}: {error.strerror}; the log ends here"), file=self._terminal)
                return


class _Tee(io.TextIOBase):
    """Writes to the logs and the terminal, without credentials.

    A pipe into `tee` would not do: a signal to the whole job kills `tee` first.
    """

    def __init__(self, terminal: TextIO | None, logs: _Logs) -> None:
        self._terminal, self._logs = terminal, logs

    def write(self, text: str) -> int:
        shown = redacted(text)
        self._logs.write(shown)
        if self._terminal is not None:
            with naming(_OUTPUT):
                self._terminal.write(shown)
                self._terminal.flush()
        return len(text)


def _logged(path: Path | None, command: Sequence[str], run: Callable[[], int]) -> int:
    """Exit status of `run`. What it prints is also written to `path`, and appended to `<path>.attempts.log`."""
    if path is None:
        return run()
    logs = _Logs(path, command)
    with redirect_stdout(_Tee(sys.stdout, logs)), redirect_stderr(_Tee(sys.stderr, logs)):
        try:
            return _status(run)
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None


class _Help(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap each paragraph by itself; a command stays on one line."""
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join(
            part if part.startswith("  ") else super(_Help, self)._fill_text(part, width, indent) for part in paragraphs
        )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the usage and `message`, which repeats words of the command line, and exit with status 2."""
        if found := _CHOICE.search(message):
            message = f"unknown verb {found[1]!r}; {choices(found[1], re.findall('[a-z-]+', found[2]))}"
        super().error(one_line(redacted(message)))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="isoclock",
        description="Knowledge distillation for semantic segmentation, compared at equal training time.",
    )
    parser.add_argument("--version", action="version", version=f"isoclock {__version__}")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="also write what is printed to a file, such as runs/logs/check.log"
    )
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    for name, verb in modules_of("cli", first=_PIPELINE, without=("main", "shared")).items():
        about = verb.__doc__ or ""  # None under python -OO
        summary = about.partition("\n")[0].replace("%", "%%")  # argparse formats `help`, not `description`
        example = getattr(verb, "EXAMPLE", None)
        epilog = f"example:\n\n  isoclock {example}" if example else None
        subparser = subparsers.add_parser(
            name.replace("_", "-"), help=summary, description=about, epilog=epilog, formatter_class=_Help
        )
        verb.add_arguments(subparser)
        subparser.set_defaults(run=verb.run)
    return parser
