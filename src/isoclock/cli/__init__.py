"""The command line: every file is one verb, except `main` and `shared`."""

from __future__ import annotations

import sys

from isoclock.errors import EXIT_INTERRUPTED


def exit_status(status: str) -> int:
    """Exit status of a training that ended with `status`: 75 for "stopped", else 0."""
    if status == "stopped":
        print("isoclock: stopped, state saved; run the same command again to continue", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
