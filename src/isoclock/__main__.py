"""The command `isoclock`, also as `python -m isoclock`."""

import gc
import os
import signal
import sys
import threading
import traceback
from types import FrameType, TracebackType

from isoclock.errors import EXIT_USER_ERROR, missing_package
from isoclock.text import safe

_CTRL_C = 130


def main() -> int:
    """Run the command line; returns the exit status: 2 if a package that it needs is not installed, 130 after Ctrl-C."""
    sys.excepthook, sys.unraisablehook = _print_exception, _repeat_interrupt
    interrupts = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    catches = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not in the background of a shell script
    if catches:
        signal.signal(signal.SIGINT, interrupt)
    try:
        from isoclock.cli.main import main as run

        return run()
    except BaseException as error:
        if interrupts:  # a library may have turned KeyboardInterrupt into another error
            return _CTRL_C
        if isinstance(error, ModuleNotFoundError):
            print(f"isoclock: {missing_package(error)}", file=sys.stderr)
            return EXIT_USER_ERROR
        raise
    finally:
        if catches:  # Python prints a traceback of an interrupt while it exits
            signal.signal(signal.SIGINT, lambda *_: os._exit(_CTRL_C))
        # At its end the interpreter looks for unreachable cycles among all objects of torch and other packages. That takes a
        # second, a fifth of a short verb, and frees what the kernel frees anyway.
        gc.freeze()


def _print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback without credentials and control characters."""
    sys.stderr.write(safe("".join(traceback.format_exception(kind, error, trace))))


def _repeat_interrupt(caught: "sys.UnraisableHookArgs") -> None:
    """Interrupt again where Python has dropped KeyboardInterrupt, because a callback or a destructor was running."""
    if issubclass(caught.exc_type, KeyboardInterrupt):
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(caught)


if __name__ == "__main__":
    sys.exit(main())
