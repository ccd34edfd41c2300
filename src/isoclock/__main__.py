"""The command `isoclock`, also as `python -m isoclock`."""

import gc
import sys
import traceback
from types import TracebackType

from isoclock.errors import EXIT_USER_ERROR, missing_package
from isoclock.text import safe


def main() -> int:
    """Run the command line; returns the exit status, 2 if a package that it needs is not installed."""
    sys.excepthook = _print_exception
    try:
        from isoclock.cli.main import main as run

        return run()
    except ModuleNotFoundError as error:
        print(f"isoclock: {missing_package(error)}", file=sys.stderr)
        return EXIT_USER_ERROR
    finally:
        # At its end the interpreter looks for unreachable cycles among all objects of torch and other packages. That takes a
        # second, a fifth of a short verb, and frees what the kernel frees anyway.
        gc.freeze()


def _print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback without credentials and control characters."""
    sys.stderr.write(safe("".join(traceback.format_exception(kind, error, trace))))


if __name__ == "__main__":
    sys.exit(main())
