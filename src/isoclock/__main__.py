"""The command `isoclock`, also as `python -m isoclock`."""

import sys

from isoclock.cli import missing_package


def main() -> int:
    """Run the command line; returns the exit status, 2 where a package of the extra `pipeline` is not installed."""
    try:
        from isoclock.cli.main import main as run

        return run()
    except ModuleNotFoundError as error:
        return missing_package(error)


if __name__ == "__main__":
    sys.exit(main())
