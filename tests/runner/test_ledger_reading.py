"""Reading a ledger: lines that are not events, and long ledgers, of which few lines are parsed and none are kept."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isoclock.runner import ledger
from isoclock.runner.ledger import Event, Ledger, events, newest_first, read_ledger, valid_events
from isoclock.runner.totals import read_totals, totals
from isoclock.tracking.steps import settled_events, step_metrics

EVENT = {"event": "train", "unix": 1.5, "iteration": 20, "loss": 1.0, "terms": {"ce": 1.0}, "train_s": 2.5}
NO_EVENTS = {
    "no JSON": b'{"event": "train", "unix": 1.5, "iteration": 20, "lo\x00\x00\x00\n',
    "bytes": bytes(range(11, 256)) + b"\n",
    "nothing but zeros": bytes(4096) + b"\n",
    "a list": b"[1, 2]\n",
    "a text": b'"train"\n',
    "null": b"null\n",
    "an empty object": b"{}\n",
    "without time": b'{"event": "train", "iteration": 20}\n',
    "brackets": b"[" * 100_000 + b"\n",
    "digits": b"9" * 5000 + b"\n",
    "longer than any event": b'{"event": "train", "unix": 1.5, "iteration": 20, "x": "' + b"x" * (3 << 20) + b'"}\n',
    **{
        f"{key} {value!r:.20}": json.dumps({**EVENT, key: value}).encode() + b"\n"
        for key, values in {
            "event": [7, None, ["train"]],
            "unix": ["1.5", True, -1.0, 1e12, 10**400, float("nan"), float("inf")],
            "iteration": ["20", 20.0, True, -1, 10**30, None],
            "train_s": ["2.5", None, [2.5], -0.5, 10**400],
            "io_s": ["0.1", {}],
            "bytes": [10.5, "10"],
            "terms": [[1.0], "ce", None],
        }.items()
        for value in values
    },
}


def write(path: Path, *lines: dict[str, Any] | bytes) -> Path:
    path.write_bytes(b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines))
    return path


@pytest.mark.parametrize("every", [1, 100])
@pytest.mark.parametrize("garbage", NO_EVENTS)
def test_a_line_that_is_no_event_is_left_out_and_reported(tmp_path: Path, garbage: str, every: int) -> None:
    before, after = {**EVENT, "event": "start", "iteration": 0}, {**EVENT, "event": "finish", "iteration": 40}
    path = write(tmp_path / "ledger.jsonl", before, NO_EVENTS[garbage], b"\n", after)
    problems: list[str] = []
    assert list(events(path, every=every, problems=problems)) == [before, after]
    assert problems == [f"{path}: line 2 is not an event; left out"]


def test_several_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "ledger.jsonl", b"\xff\n", EVENT, b"no\n", b"7\n", b'{"event": "tr')
    problems: list[str] = []
    assert list(events(path, problems=problems)) == [EVENT]
    assert problems == [f"{path}: 3 lines are not events, first line 1; left out"]


def test_a_tail_without_an_end_is_cut_however_long_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "ledger.jsonl", EVENT, b"\x00" * (3 << 20))
    Ledger(path).append("start", 20)
    assert [event["event"] for event in read_ledger(path)] == ["train", "start"]


def history(moves: int, seed: int = 0) -> Iterator[Event]:
    """The events of a run that is killed, stopped and continued at random."""
    draw = random.Random(seed)
    iteration = saved = number = 0
    train_s = saved_s = 0.0

    def line(event: str, **values: Any) -> Event:
        return {"event": event, "unix": 1000.0 + number, "iteration": iteration, **values}

    yield line("start", train_s=0.0)
    for step in range(3):
        yield line("pretrain", step=step, loss=1.0, terms={}, train_s=train_s)
    for number in range(moves):
        move = draw.random()
        if move < 0.9:
            iteration, train_s = iteration + 20, round(train_s + draw.random(), 4)
            yield line("train", loss=float(number), terms={"ce": 1.0}, lr=0.1, train_s=train_s)
        elif move < 0.94:
            yield line("evaluate", miou=0.5)
            saved, saved_s = iteration, train_s
            yield line("checkpoint", io_s=0.25, bytes=number)
        elif move < 0.97:
            yield line("anchor", anchor_s=0.1)
        else:
            if move < 0.98:
                yield line("progress", train_s=train_s + 0.5)
            iteration, train_s = saved, saved_s
            yield line("start", train_s=train_s)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("every", [20, 90, 1000, 10**12])
def test_what_is_left_out_changes_neither_totals_nor_curve(tmp_path: Path, every: int, seed: int) -> None:
    path = write(tmp_path / "ledger.jsonl", *history(2000, seed))
    whole, thin = read_ledger(path), list(events(path, every=every))
    assert read_totals(path) == totals(thin) == totals(whole)
    assert thin[-1] == whole[-1]
    for final in (True, False):
        of_whole, of_thin = (step_metrics(settled_events(found, final=final), every) for found in (whole, thin))
        assert of_thin == of_whole


def test_a_curve_has_one_point_in_each_part(tmp_path: Path) -> None:
    path = write(tmp_path / "ledger.jsonl", *({**EVENT, "iteration": 20 * number} for number in range(5001)))
    points = step_metrics(valid_events(events(path, every=100)), 100)
    assert [one.iteration for one in points if one.name == "train/loss"] == list(range(0, 100_001, 100))


def cost(path: Path, lines: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Lines that are parsed, and bytes at the peak, of the totals and 1,000 points of a ledger of that many lines."""
    write(path, *({**EVENT, "iteration": 20 * number, "x": "x" * 100} for number in range(lines)))
    parsed = 0

    def counted(line: bytes) -> Any:
        nonlocal parsed
        parsed += 1
        return json.JSONDecoder().decode(line.decode())

    with monkeypatch.context() as patched:
        patched.setattr(ledger.json, "loads", counted)
        tracemalloc.start()
        every = 20 * lines // 1000
        assert len(step_metrics(settled_events(events(path, every=every), final=True), every)) > 1000
        read_totals(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return parsed, peak


def test_neither_parsing_nor_memory_grows_with_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (short, small), (long, large) = (cost(tmp_path / "ledger.jsonl", n, monkeypatch) for n in (2_000, 12_000))
    assert (short, long) == (1003, 1003), "1,000 points and the last, and for the totals the first and the last"
    assert large < 1.2 * small


@pytest.mark.parametrize("block", [1, 7, 64, 4096])
def test_newest_first_is_the_same_backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(ledger, "_TAIL", block)
    path = tmp_path / "ledger.jsonl"
    assert list(newest_first(path)) == []
    written = Ledger(path)
    for at in range(5):
        written.append("train", at, loss=1 / (at + 1), note="x" * 10 * at)
    written.close()
    with path.open("a") as stream:
        stream.write('not an event\n\n{"event": "train", "unix": 1, "iteration": 9}')  # its line feed is missing
    assert list(newest_first(path)) == read_ledger(path)[::-1]
    path.write_text("")
    assert list(newest_first(path)) == []
