"""The command `isoclock`, also as `python -m isoclock`."""

import sys

from isoclock.errors import EXIT_USER_ERROR, missing_package


def main() -> int:
    """Run the command line; returns the exit status, 2 if a package that it needs is not installed."""
    try:
        from isoclock.cli.main import main as run

        return run()
    except ModuleNotFoundError as error:
        print(f"isoclock: {missing_package(error)}", file=sys.stderr)
        return EXIT_USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
