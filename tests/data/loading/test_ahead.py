from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from isoclock.data.loading.ahead import CopiedAhead

CPU = torch.device("cpu")
Made = Iterator[dict[str, Any]]


def made(log: list[str], count: int = 4) -> Made:
    for number in range(count):
        log.append(f"make {number}")
        yield {"images": torch.full((2,), number), "core_s": float(number)}


def test_batches_come_in_order_and_one_is_made_ahead() -> None:
    log: list[str] = []
    received = []
    for number, batch in enumerate(CopiedAhead(made(log), CPU)):
        assert log == [f"make {ahead}" for ahead in range(min(number + 2, 4))]
        received.append((batch["images"].tolist(), batch["core_s"]))
    assert received == [([number, number], float(number)) for number in range(4)]


def test_a_source_without_batches_gives_none() -> None:
    assert list(CopiedAhead(made([], count=0), CPU)) == []


class LoggingStream:
    """A stream's place in the order of work: which one waits for which, and where copies are issued."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: LoggingStream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")


def test_a_batch_is_given_after_its_copy_and_copied_after_what_may_read_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []
    training, copying = LoggingStream("training", log), LoggingStream("copying", log)

    def on(stream: LoggingStream) -> nullcontext[None]:
        log.append(f"copy on {stream.name}")
        return nullcontext()

    module = SimpleNamespace(Stream=lambda _: copying, current_stream=lambda _: training, stream=on)
    monkeypatch.setattr(torch, "get_device_module", lambda _: module)
    ahead = CopiedAhead(made(log, count=3), CPU)
    copied = ["copying waits for training", "copy on copying"]
    next(ahead)
    assert log == ["make 0", *copied, "training waits for copying", "make 1", *copied]
    log.clear()
    next(ahead)
    assert log == ["training waits for copying", "make 2", *copied], "not for the copy of the batch after it"
    log.clear()
    next(ahead)
    assert log == ["training waits for copying"]
