"""One file a verb of the command line: `run(arguments)` returns the exit status. `isoclock.cli.main` imports the one asked for."""

from __future__ import annotations

import sys

from isoclock.errors import EXIT_INTERRUPTED, EXIT_USER_ERROR


def exit_status(status: str) -> int:
    """Of a training that ended as `status`."""
    if status == "stopped":
        print("isoclock: stopped, state saved; the same command goes on from there", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def missing_package(error: ModuleNotFoundError) -> int:
    """Print which package to install. Raises `error` again where a module of isoclock itself is missing."""
    package = (error.name or "isoclock").partition(".")[0]
    if package == "isoclock":
        raise error
    message = f'isoclock: module {package!r} is not installed; run: pip install "isoclock[pipeline]"'
    print(message, file=sys.stderr)
    return EXIT_USER_ERROR
