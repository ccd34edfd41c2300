from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from isoclock.files import NotAFile
from isoclock.runner.ledger import Ledger, read_ledger, valid_events
from isoclock.runner.progress_file import ProgressFile
from no_files import NO_FILES, put


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "run" / "ledger.jsonl")
    ledger.append("start", 0, run_id="abc")
    ledger.append("train", 20, loss=1.5, terms={"ce": 1.25, "kd": 0.25}, lr=0.01)
    events = read_ledger(ledger.path)
    assert [(event["event"], event["iteration"]) for event in events] == [("start", 0), ("train", 20)]
    assert events[1]["terms"] == {"ce": 1.25, "kd": 0.25}
    assert events[0]["unix"] <= events[1]["unix"]


def test_an_event_can_be_read_before_the_ledger_is_closed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("start", 0)
    assert len(read_ledger(ledger.path)) == 1


def test_a_line_cut_short_is_left_out_and_the_next_is_not_glued_to_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path)
    first.append("start", 0)
    first.close()
    with path.open("a") as stream:
        stream.write('{"event": "train", "iter')
    assert [event["event"] for event in read_ledger(path)] == ["start"]
    second = Ledger(path)
    second.append("start", 0)
    assert [event["event"] for event in read_ledger(path)] == ["start", "start"]


def test_a_ledger_of_nothing_but_a_torn_line(tmp_path: Path) -> None:
    (tmp_path / "ledger.jsonl").write_text('{"ev')
    Ledger(tmp_path / "ledger.jsonl").append("start", 0)
    assert [event["event"] for event in read_ledger(tmp_path / "ledger.jsonl")] == ["start"]


def test_no_file_has_no_events(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "ledger.jsonl") == []


def test_numbers_that_json_has_not_are_written_as_words(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("train", 20, loss=math.nan, terms={"ce": math.inf}, windows=[-math.inf, 1.0])
    line = ledger.path.read_text().strip()
    output = json.loads(line, parse_constant=lambda constant: (_ for _ in ()).throw(AssertionError(constant)))
    assert (output["loss"], output["terms"]["ce"], output["windows"]) == ("nan", "inf", ["-inf", 1.0])


def events(*output: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"event": event, "iteration": iteration, "line": line} for line, (event, iteration) in enumerate(output)]


def lines(kept: list[dict[str, Any]]) -> list[int]:
    return [event["line"] for event in kept]


def test_what_a_kill_made_void_is_left_out() -> None:
    output = events(
        ("start", 0), ("train", 20), ("checkpoint", 30), ("train", 40), ("start", 30), ("train", 40), ("finish", 50)
    )
    assert lines(valid_events(output)) == [0, 1, 2, 4, 5, 6]


def test_a_stop_makes_nothing_void() -> None:
    output = events(("start", 0), ("train", 20), ("checkpoint", 20), ("stop", 20), ("start", 20), ("train", 40))
    assert lines(valid_events(output)) == [0, 1, 2, 3, 4, 5]


def test_two_kills_one_behind_the_other() -> None:
    output = events(
        ("start", 0),
        ("checkpoint", 30),
        ("train", 40),
        ("start", 30),
        ("train", 60),
        ("start", 0),  # both checkpoints were damaged
        ("train", 20),
    )
    assert lines(valid_events(output)) == [0, 5, 6]


def test_a_ledger_without_kills_is_whole() -> None:
    output = events(("start", 0), ("train", 20), ("evaluate", 20), ("finish", 20))
    assert valid_events(output) == output


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    with pytest.raises(NotAFile, match=rf"ledger\.jsonl: it is {kind}, not a file"):
        Ledger(put(tmp_path / "ledger.jsonl", kind))
    assert read_ledger(tmp_path / "ledger.jsonl") == []
    progress = ProgressFile(tmp_path)
    put(progress.path, kind)
    assert progress.read() is None
    progress.write(3, 1.5)
    assert progress.read() is None
