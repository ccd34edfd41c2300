from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from isoclock.budget import measure as measuring
from isoclock.budget import profile as profiling
from isoclock.budget.measure import bootstrap_interval
from isoclock.budget.profile import profile_method
from isoclock.files import read_json
from isoclock.params.schema import ProfileSettings
from isoclock.records.document import plain
from isoclock.training.anchor import StepBench
from isoclock.training.step import Mark, no_mark
from tiny_study import TinyStudy

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
FIELDS = {
    "schema", "dataset", "pair", "method", "implementation", "device_kind", "threads", "precision", "batch",
    "unlabelled_per_batch", "images", "crop", "cost",
    "step_s", "anchor_s", "windows", "sustained_ratio", "peak_mib", "shares", "gflops", "loader_core_s", "loader_share",
    "energy_j", "marks", "attempts", "digests", "pretrain",
}  # fmt: skip
SHARES = {"data", "student", "teacher", "loss", "backward", "optimiser", "adversary"}


def settings(**changes: Any) -> ProfileSettings:
    values = {
        "warmup_steps": 1,
        "windows": 5,
        "steps_per_window": 1,
        "sustained_steps": 2,
        "max_spread": 0.1,
        "max_data_share": 0.25,
        "attempts": 3,
        "reaccept_within": 0.02,
        "provenance": {"*": "ours"},
    }
    return ProfileSettings.model_validate(values | changes)


class FakeBench:
    """A bench whose windows take the seconds it is given, in turn; the last one for ever."""

    def __init__(self, *seconds: float, data_share: float = 0.1, workers: int = 0) -> None:
        self.seconds, self.data_share = list(seconds), data_share
        self.step = SimpleNamespace(
            device=torch.device("cpu"),
            recipe=SimpleNamespace(workers=workers),
            method=SimpleNamespace(pretrain_iterations=0),
            compiler=SimpleNamespace(not_compiled=[]),
        )
        self.stream = SimpleNamespace(loader_core_s=0.0)
        self.runs: list[int] = []

    def run(self, steps: int, mark: Mark = no_mark) -> float:
        self.runs.append(steps)
        self.stream.loader_core_s += 0.5 * steps
        return self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict[str, Any], int]]:
    """Measure fabricated windows of a method against an anchor that takes a second."""

    def shares(bench: FakeBench, _steps: int) -> dict[str, float]:
        return {"data": bench.data_share, "student": 1 - bench.data_share}

    monkeypatch.setattr(measuring, "phase_shares", shares)

    def measure(method: FakeBench, *, most: int | None = None, **changes: Any) -> tuple[dict[str, Any], int]:
        def bench(with_method: bool) -> StepBench:
            return method if with_method else FakeBench(1.0)  # type: ignore[return-value]

        return profiling._measure_until_quiet(bench, settings(**changes), "test", most or settings(**changes).attempts)

    return measure


@pytest.mark.parametrize(("workers", "share", "marks"), [(0, None, []), (2, 0.625, []), (1, 1.25, ["input-bound"])])
def test_loaders_that_cannot_keep_up_are_reported_though_nobody_waited(
    measured: Callable[..., tuple[dict[str, Any], int]], workers: int, share: float | None, marks: list[str]
) -> None:
    found, _ = measured(FakeBench(0.4, data_share=0.0, workers=workers))  # half a second of a core for a batch
    assert found["loader_share"] == (None if share is None else pytest.approx(share))
    assert found["marks"] == marks


def test_windows_that_agree_are_clean_at_once(measured: Callable[..., Any]) -> None:
    found, attempts = measured(FakeBench(9.0, 2.0, 2.02, 1.98, 2.0, 2.01))  # the first is the warm-up
    assert (found["marks"], attempts) == ([], 1)
    assert found["cost"]["ratio"] == 2.0
    assert [window["ratio"] for window in found["windows"]] == [2.0, 2.02, 1.98, 2.0, 2.01]
    assert found["step_s"]["median"] == 2.0
    assert found["sustained_ratio"] == pytest.approx(2.01)
    assert found["loader_core_s"] == pytest.approx(0.5)


def test_windows_that_disagree_are_measured_again(measured: Callable[..., Any]) -> None:
    found, attempts = measured(FakeBench(2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 2.0))
    assert (found["marks"], attempts) == ([], 2)
    assert found["cost"]["ratio"] == 2.0


def test_why_it_is_measured_again_is_reported_in_one_line(
    measured: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    measured(FakeBench(2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 2.0))
    output = capsys.readouterr().err.splitlines()
    again = "test: noisy (windows spread over 66.7%, max_spread 10.0%): measured again, attempt 2 of 3"
    assert [line for line in output if "again" in line] == [again]
    assert output.index(again) == len(output) - 2
    assert output[-1].startswith("test, attempt 2 of 3: 5/5")


def test_waiting_and_busy_loaders_are_reported_with_their_limits(
    measured: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    measured(FakeBench(0.4, data_share=0.3, workers=1), attempts=2)
    (output,) = [line for line in capsys.readouterr().err.splitlines() if "again" in line]
    waiting = "30% of a step waits for data, max_data_share 25%"
    assert output == (
        f"test: input-bound ({waiting}; loader processes have work for 125% of a step, at most 100%): measured again, "
        "attempt 2 of 2"
    )


def test_windows_that_go_on_disagreeing_are_marked(measured: Callable[..., Any]) -> None:
    noise = [2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 2.0]
    found, attempts = measured(FakeBench(*noise * 3))
    assert (found["marks"], attempts) == (["noisy"], 3)


def test_waiting_for_data_is_marked(measured: Callable[..., Any]) -> None:
    found, _ = measured(FakeBench(2.0, data_share=0.26))
    assert found["marks"] == ["input-bound"]
    assert measured(FakeBench(2.0, data_share=0.24))[0]["marks"] == []


def test_one_bad_window_is_no_noise(measured: Callable[..., Any]) -> None:
    found, attempts = measured(FakeBench(2.0, 2.0, 2.0, 40.0, 2.0, 2.0, 2.0))
    assert (found["marks"], attempts, found["cost"]["ratio"]) == ([], 1, 2.0)


def test_sides_take_turns_in_going_first() -> None:
    order: list[str] = []

    class Noted(FakeBench):
        def __init__(self, name: str) -> None:
            super().__init__(1.0)
            self.name = name

        def run(self, steps: int, mark: Mark = no_mark) -> float:
            order.append(self.name)
            return super().run(steps, mark)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "phase_shares", lambda *_: {"data": 0.0})
        measuring.measure(Noted("m"), Noted("a"), settings(windows=4), lambda *_: None)  # type: ignore[arg-type]
    assert "".join(order) == "ma" + "ammaamma" + "m"


def test_shares_are_those_of_the_marked_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: float(next(now)))

    class Marked(FakeBench):
        def run(self, steps: int, mark: Mark = no_mark) -> float:
            for _ in range(steps):
                for phase in ("data", "transfer", "teacher", "student", "loss", "backward", "optimiser"):
                    mark(phase)
            return 1.0

    shares = measuring.phase_shares(Marked(1.0), 4)  # type: ignore[arg-type]
    assert set(shares) == SHARES
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["data"] == pytest.approx(2 / 7), "moving a batch to the device is the data's"
    assert shares["teacher"] == pytest.approx(1 / 7)


def test_the_interval_covers_the_median_and_is_the_same_each_time() -> None:
    ratios = np.array([1.9, 2.0, 2.0, 2.1, 2.3])
    found = bootstrap_interval(ratios)
    assert 1.9 <= found["low"] <= 2.0 <= found["high"] <= 2.3
    assert found["low"] < found["high"]
    assert bootstrap_interval(ratios) == found
    assert bootstrap_interval(np.full(5, 2.0)) == {"low": 2.0, "high": 2.0}


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        found = bootstrap_interval(random.normal(2.0, 0.1, size=15))
        covered += found["low"] <= 2.0 <= found["high"]
    assert covered >= 85


def test_the_interval_shrinks_with_more_windows() -> None:
    ratios = np.random.default_rng(0).normal(2.0, 0.1, size=200)
    few, many = bootstrap_interval(ratios[:9]), bootstrap_interval(ratios)
    assert many["high"] - many["low"] < few["high"] - few["low"]


@pytest.mark.parametrize("method", ["none", "mgd"])
def test_a_real_profile_has_everything(prepared_study: TinyStudy, method: str) -> None:
    found = plain(profile_method(prepared_study.params, "streets", "tiny", method, prepared_study.layout))
    assert set(found) >= FIELDS
    assert found == read_json(prepared_study.layout.profile("streets", "tiny", method), "profile")
    cost = found["cost"]
    assert math.isfinite(cost["ratio"])
    assert 0 < cost["low"] <= cost["ratio"] <= cost["high"]
    assert (found["dataset"], found["pair"], found["method"]) == ("streets", "tiny", method)
    assert (found["batch"], found["crop"], found["precision"], found["threads"]) == (2, [32, 64], "fp32", 1)
    assert (found["teacher_inference"], found["compile"], found["not_compiled"]) == ("eager", "none", [])
    assert set(found["shares"]) == SHARES
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    assert all(share >= 0 for share in found["shares"].values())
    assert len(found["windows"]) == 3
    assert all(window["ratio"] == window["step_s"] / window["anchor_s"] for window in found["windows"])
    for times in (found["step_s"], found["anchor_s"]):
        assert 0 < times["q25"] <= times["median"] <= times["q75"]
    gflops = found["gflops"]
    assert {"student", "teacher", "loss", "total"} <= set(gflops)
    assert gflops["total"] == pytest.approx(sum(value for name, value in gflops.items() if name != "total"))
    assert gflops["student"] > 0
    assert found["peak_mib"] > 1
    assert found["loader_core_s"] > 0
    assert found["sustained_ratio"] > 0
    assert (found["marks"], found["attempts"]) == ([], 1)
    assert len(found["digests"]["data"]) == len(found["digests"]["code"]) == 64
    assert (gflops["teacher"] > 0) == (gflops["loss"] > 0) == (method == "mgd")


def test_a_dearer_method_takes_more_memory_and_operations(prepared_study: TinyStudy) -> None:
    params, layout = prepared_study.params, prepared_study.layout
    none, mgd = (plain(profile_method(params, "streets", "tiny", method, layout)) for method in ("none", "mgd"))
    assert mgd["peak_mib"] > none["peak_mib"]
    assert mgd["gflops"]["total"] > none["gflops"]["total"]
    assert mgd["gflops"]["student"] == none["gflops"]["student"]
    assert mgd["digests"]["code"] != none["digests"]["code"]


def test_a_second_profile_leaves_the_networks_of_a_study_alone(prepared_study: TinyStudy) -> None:
    before = {path for path in prepared_study.folder.rglob("*") if path.is_file()}
    profile_method(prepared_study.params, "streets", "tiny", "kd", prepared_study.layout)
    made = {path for path in prepared_study.folder.rglob("*") if path.is_file()} - before
    layout = prepared_study.layout
    assert made == {layout.profile("streets", "tiny", "kd"), layout.accepted_record("profile", "streets", "tiny", "kd")}
