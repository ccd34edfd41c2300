"""Stop signals: SIGTERM and SIGINT become a flag that the loop reads between two iterations."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopSignal:
    """While entered, SIGTERM and SIGINT only set `reason`; they may come several times, and never break a save."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.reason: str | None = None

    def __enter__(self) -> StopSignal:
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.reason = signal.Signals(number).name
