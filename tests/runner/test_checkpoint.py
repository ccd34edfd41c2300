from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from isoclock.runner import checkpoint
from isoclock.runner.checkpoint import load_newest, save
from no_files import NO_FILES, put


def state(value: float) -> dict[str, Any]:
    return {"student": {"weight": torch.full((3,), value)}, "run": {"iteration": int(value), "best": None}}


def damage(folder: Path, iteration: int) -> None:
    path = folder / f"checkpoint-{iteration:09d}.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    size = save(tmp_path, 7, state(7))
    found = load_newest(tmp_path)
    assert found is not None
    assert (found.iteration, found.complaints) == (7, [])
    assert torch.equal(found.state["student"]["weight"], torch.full((3,), 7.0))
    assert size == (tmp_path / "checkpoint-000000007.pt").stat().st_size


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for iteration in (9, 10, 100):
        save(tmp_path, iteration, state(iteration))
    assert files(tmp_path) == [
        "checkpoint-000000010.json",
        "checkpoint-000000010.pt",
        "checkpoint-000000100.json",
        "checkpoint-000000100.pt",
    ]


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_newest(tmp_path) is None
    assert load_newest(tmp_path / "not there") is None


def test_a_damaged_newest_is_passed_over_and_said_so(tmp_path: Path) -> None:
    save(tmp_path, 10, state(10))
    save(tmp_path, 20, state(20))
    damage(tmp_path, 20)
    found = load_newest(tmp_path)
    assert found is not None
    assert found.iteration == 10
    assert len(found.complaints) == 1
    assert "checkpoint-000000020.pt: damaged" in found.complaints[0]
    assert "older checkpoint is used" in found.complaints[0]


def test_one_of_another_run_is_passed_over(tmp_path: Path) -> None:
    for iteration, run_id in ((10, "mine"), (20, "another")):
        content = state(iteration)
        save(tmp_path, iteration, {**content, "run": {**content["run"], "run_id": run_id}})
    found = load_newest(tmp_path, "mine")
    assert found is not None
    assert found.iteration == 10
    (complaint,) = found.complaints
    assert "checkpoint-000000020.pt: of another run (another, and this is run mine)" in complaint


def test_one_that_was_never_completed_does_not_count(tmp_path: Path) -> None:
    save(tmp_path, 10, state(10))
    (tmp_path / "checkpoint-000000020.pt").write_bytes(b"half")  # killed before its digest was written
    found = load_newest(tmp_path)
    assert found is not None
    assert found.iteration == 10
    assert ["checkpoint-000000020.pt: not finished" in output for output in found.complaints] == [True]


NO_DIGESTS = [
    "",
    "{}",
    '{"sha256": "00"}',
    '{"sha256": null}',
    "[]",
    '"sha256"',
    "7",
    "null",
    "[" * 100_000,
    "9" * 5000,
]


@pytest.mark.parametrize("digest", NO_DIGESTS, ids=range(len(NO_DIGESTS)))
def test_a_broken_digest_is_damage_too(tmp_path: Path, digest: str) -> None:
    save(tmp_path, 10, state(10))
    (tmp_path / "checkpoint-000000010.json").write_text(digest)
    found = load_newest(tmp_path)
    assert found is not None
    assert found.state == {}
    assert "checkpoint-000000010" in found.complaints[0]


@pytest.mark.parametrize("digest", NO_DIGESTS, ids=range(len(NO_DIGESTS)))
def test_the_older_checkpoint_is_used_instead(tmp_path: Path, digest: str) -> None:
    save(tmp_path, 10, state(10))
    save(tmp_path, 20, state(20))
    (tmp_path / "checkpoint-000000020.json").write_bytes(b"\xff" + digest.encode())
    found = load_newest(tmp_path)
    assert found is not None
    assert (found.iteration, len(found.complaints)) == (10, 1)


def test_files_of_other_names_are_no_checkpoints(tmp_path: Path) -> None:
    save(tmp_path, 10, state(10))
    for name in (
        "checkpoint-best.json",
        "checkpoint-.json",
        f"checkpoint-{'9' * 30}.json",
        "checkpoint-10 (copy).json",
    ):
        (tmp_path / name).write_text("{}")
    found = load_newest(tmp_path)
    assert found is not None
    assert (found.iteration, found.complaints) == (10, [])


def test_a_checkpoint_that_holds_no_state_is_damaged(tmp_path: Path) -> None:
    save(tmp_path, 10, state(10))
    save(tmp_path, 20, [1, 2])  # type: ignore[arg-type]
    found = load_newest(tmp_path)
    assert found is not None
    assert found.iteration == 10
    assert "checkpoint-000000020.pt: damaged (it has no state)" in found.complaints[0]


def test_all_damaged_says_all_and_starts_again(tmp_path: Path) -> None:
    for iteration in (10, 20):
        save(tmp_path, iteration, state(iteration))
        damage(tmp_path, iteration)
    found = load_newest(tmp_path)
    assert found is not None
    assert (found.iteration, found.state, len(found.complaints)) == (0, {}, 2)


def test_a_run_that_starts_again_keeps_what_it_saves_behind_damaged_ones(tmp_path: Path) -> None:
    for iteration in (10, 20):
        save(tmp_path, iteration, state(iteration))
        damage(tmp_path, iteration)
    save(tmp_path, 5, state(5))
    found = load_newest(tmp_path)
    assert found is not None
    assert (found.iteration, found.complaints) == (5, [])


class Payload:
    """What a pickle can do to whoever loads it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    save(tmp_path, 10, state(10))
    path = tmp_path / "checkpoint-000000020.pt"
    torch.save({"student": Payload(tmp_path / "it ran")}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"iteration": 20, "sha256": digest}))
    found = load_newest(tmp_path)
    assert not (tmp_path / "it ran").exists()
    assert found is not None
    assert found.iteration == 10
    assert len(found.complaints) == 1
    assert "checkpoint-000000020.pt: cannot be loaded" in found.complaints[0]
    assert "\n" not in found.complaints[0]


def test_a_kill_while_saving_leaves_the_ones_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 10, state(10))
    save(tmp_path, 20, state(20))
    monkeypatch.setattr(checkpoint, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 30, state(30))
    found = load_newest(tmp_path)
    assert found is not None
    assert found.iteration == 20
    assert ["checkpoint-000000030.pt: not finished" in output for output in found.complaints] == [True]


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("suffix", [".pt", ".json"])
def test_what_is_no_file_is_passed_over_and_said_so(tmp_path: Path, kind: str, suffix: str) -> None:
    for iteration in (10, 20):
        save(tmp_path, iteration, state(iteration))
    put(tmp_path / f"checkpoint-000000020{suffix}", kind)
    found = load_newest(tmp_path)
    assert found is not None
    assert (found.iteration, len(found.complaints)) == (10, 1)
    assert f"checkpoint-000000020{suffix}: it is {kind}, not a file" in found.complaints[0]
