"""One file a verb of the command line: `run(arguments)` returns the exit status. `isoclock.cli.main` imports the one asked for."""

from __future__ import annotations

import sys

from isoclock.errors import EXIT_INTERRUPTED


def exit_status(status: str) -> int:
    """Of a training that ended as `status`."""
    if status == "stopped":
        print("isoclock: stopped, state saved; the same command goes on from there", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
