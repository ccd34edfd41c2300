from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from isoclock.budget import measure as measuring
from isoclock.budget.measure import bootstrap_interval, measure_sensitivity
from isoclock.budget.profile import profile_method
from isoclock.files import read_json
from isoclock.params.schema import ProfileSettings, Recipe
from isoclock.records.document import plain
from isoclock.training.anchor import StepBench
from isoclock.training.step import Mark, no_mark
from tiny_recipe import recipe
from tiny_study import TinyStudy

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
FIELDS = {
    "schema", "dataset", "pair", "method", "implementation", "device_kind", "threads", "precision", "batch",
    "unlabelled_per_batch", "images", "crop", "cost", "loss_precision", "matmul_precision", "cudnn_benchmark",
    "step_s", "anchor_s", "windows", "sustained_ratio", "peak_mib", "shares", "gflops", "loader_core_s", "loader_share",
    "energy_j", "gpu", "marks", "digests", "pretrain",
}  # fmt: skip
SHARES = {"data", "student", "teacher", "loss", "backward", "optimiser", "adversary"}


def settings(**changes: Any) -> ProfileSettings:
    values = {
        "window_s": 1.0,
        "min_windows": 5,
        "half_width": 0.1,
        "max_s": 100.0,
        "sustained_s": 4.0,
        "max_data_share": 0.25,
        "reaccept_within": 0.02,
        "provenance": {"*": "ours"},
    }
    return ProfileSettings.model_validate(values | changes)


class FakeBench:
    """A bench whose runs take the seconds a step that it is given, in turn, over and over."""

    def __init__(self, *seconds: float, workers: int = 0, pretrain: Sequence[float] = ()) -> None:
        self.seconds, self.pretrain_seconds = itertools.cycle(seconds), itertools.cycle(pretrain)
        self.step = SimpleNamespace(
            device=torch.device("cpu"),
            recipe=SimpleNamespace(workers=workers),
            method=SimpleNamespace(pretrain_iterations=100 if pretrain else 0),
            compiler=SimpleNamespace(not_compiled=[]),
        )
        self.stream = SimpleNamespace(loader_core_s=0.0)
        self.runs: list[int] = []

    def run(self, steps: int, mark: Mark = no_mark, *, pretraining: bool = False) -> float:
        self.runs.append(steps)
        self.stream.loader_core_s += 0.5 * steps
        return next(self.pretrain_seconds if pretraining else self.seconds)


Measure = Callable[..., dict[str, Any]]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measure fabricated windows of a method against an anchor that takes a second."""

    def measure(method: FakeBench, *, data_share: float = 0.1, **changes: Any) -> dict[str, Any]:
        monkeypatch.setattr(measuring, "phase_shares", lambda *_: {"data": data_share})
        monkeypatch.setattr(measuring, "warm_up", lambda *_: 1.0)
        return measuring.measure(method, FakeBench(1.0), settings(**changes), lambda *_: None)  # type: ignore[arg-type]

    return measure


@pytest.mark.parametrize(("workers", "share", "marks"), [(0, None, []), (2, 0.625, []), (1, 1.25, ["input-bound"])])
def test_loaders_that_cannot_keep_up_are_reported_though_nobody_waited(
    measured: Measure, workers: int, share: float | None, marks: list[str]
) -> None:
    found = measured(FakeBench(0.4, workers=workers), data_share=0.0)  # half a second of a core for a batch
    assert found["loader_share"] == (None if share is None else pytest.approx(share))
    assert found["marks"] == marks


def test_windows_that_agree_end_at_once(measured: Measure) -> None:
    found = measured(FakeBench(2.0, 2.02, 1.98, 2.0, 2.01, 2.03))
    assert [window["ratio"] for window in found["windows"]] == [2.0, 2.02, 1.98, 2.0, 2.01]
    assert (found["marks"], found["cost"]["ratio"], found["step_s"]["median"]) == ([], 2.0, 2.0)
    assert found["sustained_ratio"] == pytest.approx(2.03)
    assert found["loader_core_s"] == pytest.approx(0.5)
    assert (found["energy_j"], found["gpu"], found["pretrain"]) == (None, None, None), "a CPU has no NVML"


def test_windows_go_on_until_the_interval_is_narrow(measured: Measure) -> None:
    noise = (1.8, 2.2, 2.0, 1.9, 2.1, 1.7, 2.3)
    counts = []
    for half_width in (0.1, 0.05, 0.03):
        found = measured(FakeBench(*noise), half_width=half_width, max_s=1e6)
        assert found["marks"] == []
        assert measuring.half_width(found["cost"]) <= half_width
        assert len(found["windows"]) == 5 or measuring.half_width(measuring.cost_of(found["windows"][:-1])) > half_width
        counts.append(len(found["windows"]))
    assert counts == sorted(set(counts)), "the narrower, the more of them"


def test_windows_that_go_on_disagreeing_end_at_the_maximum_and_are_marked(measured: Measure) -> None:
    found = measured(FakeBench(1.0, 2.0, 3.0, 4.0, 5.0), max_s=39.0)
    assert found["marks"] == ["noisy"]
    assert len(found["windows"]) == 10, "4 s each, the anchor's second included"


def test_three_windows_are_measured_however_long_they_take(measured: Measure) -> None:
    found = measured(FakeBench(100.0), max_s=1.0)
    assert len(found["windows"]) == 3


def test_a_pre_training_is_measured_in_the_same_way(measured: Measure) -> None:
    found = measured(FakeBench(2.0, pretrain=[0.5]))
    assert found["pretrain"] == {"iterations": 100, "ratio": 0.5, "low": 0.5, "high": 0.5}
    assert found["marks"] == []
    assert measured(FakeBench(2.0, pretrain=[0.5, 1.5, 2.5]), max_s=15.0)["marks"] == ["noisy"]


def test_waiting_for_data_is_marked(measured: Measure) -> None:
    assert measured(FakeBench(2.0), data_share=0.26)["marks"] == ["input-bound"]
    assert measured(FakeBench(2.0), data_share=0.24)["marks"] == []


def test_one_bad_window_is_no_noise(measured: Measure) -> None:
    found = measured(FakeBench(2.0, 2.0, 40.0, *[2.0] * 30))
    assert (found["marks"], found["cost"]["ratio"], found["cost"]["high"]) == ([], 2.0, 2.0)


def test_windows_are_as_long_as_they_should_be_and_sides_take_turns_in_going_first() -> None:
    order: list[str] = []

    class Noted(FakeBench):
        def __init__(self, name: str, seconds: float) -> None:
            super().__init__(seconds)
            self.name = name

        def run(self, steps: int, mark: Mark = no_mark, *, pretraining: bool = False) -> float:
            order.append(f"{self.name}{steps}")
            return super().run(steps, mark, pretraining=pretraining)

    method, anchor = Noted("m", 0.25), Noted("a", 0.1)
    windows = measuring.alternate(method.run, anchor.run, settings(min_windows=4), lambda *_: None)
    warm = ["m1"] * 5 + ["a1"] * 2 + ["a3"] * 3
    assert sorted(order[:10]) == sorted(warm)
    assert order[10:] == ["a10", "m4", "m4", "a10", "a10", "m4", "m4", "a10"]
    assert len(windows) == 4


def test_the_warm_up_ends_when_steps_take_the_same_time() -> None:
    bench = FakeBench(60.0, 2.0, *[1.0, 1.1, 1.2], *[0.9, 0.8, 0.7], *[0.5, 0.52, 0.9], *[0.5, 0.4, 0.51])
    assert measuring.warm_up(bench.run, settings(half_width=0.05)) == 0.5
    assert bench.runs == [1] * 14


def test_a_warm_up_ends_after_a_quarter_of_the_maximum() -> None:
    bench = FakeBench(1.0, *(2.0**n for n in range(100)))
    measuring.warm_up(bench.run, settings(max_s=40.0))
    assert bench.runs == [1] * 5, "the first one does not count; 1 s, then 2, 4 and 8 s"


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
    assert found["marks"] == []
    assert found["sensitivity"] is None, "the recipe is fp32"
    assert len(found["digests"]["data"]) == len(found["digests"]["code"]) == 64
    assert (gflops["teacher"] > 0) == (gflops["loss"] > 0) == (method == "mgd")


@pytest.mark.parametrize(("loss_precision", "other"), [("autocast", "fp32"), ("fp32", "autocast")])
def test_a_profile_in_bf16_has_the_cost_in_the_other_loss_precision(
    prepared_study: TinyStudy, loss_precision: str, other: str
) -> None:
    prepared_study.edit("training.yaml", "precision: fp32", "precision: bf16")
    prepared_study.edit("training.yaml", "loss_precision: autocast", f"loss_precision: {loss_precision}")
    found = profile_method(prepared_study.params, "streets", "tiny", "kd", prepared_study.layout)
    assert (found.precision, found.loss_precision) == ("bf16", loss_precision)
    assert found.sensitivity is not None
    assert found.sensitivity.loss_precision == other
    assert 0 < found.sensitivity.low <= found.sensitivity.ratio <= found.sensitivity.high
    none = profile_method(prepared_study.params, "streets", "tiny", "none", prepared_study.layout)
    assert none.sensitivity is None, "it has no loss of its own"


def test_the_sensitivity_is_the_ratio_of_steps_with_the_other_losses() -> None:
    opened: list[tuple[bool, str]] = []
    shown: list[str] = []

    def bench(with_method: bool, changed: Recipe) -> StepBench:
        opened.append((with_method, changed.loss_precision))
        return FakeBench(3.0 if with_method else 1.5)  # type: ignore[return-value]

    in_bf16 = recipe(precision="bf16")
    found = measure_sensitivity(bench, in_bf16, lambda *figures: shown.append(figures[2]))
    assert found == {"loss_precision": "fp32", "ratio": 2.0, "low": 2.0, "high": 2.0}
    assert opened == [(True, "fp32"), (False, "fp32")]
    assert set(shown) == {"ratio 2.000"}
    assert in_bf16.loss_precision == "autocast"


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
    layout = prepared_study.layout
    made = {
        path for path in prepared_study.folder.rglob("*") if path.is_file() and path.parent != layout.digests
    } - before
    assert made == {layout.profile("streets", "tiny", "kd"), layout.accepted_record("profile", "streets", "tiny", "kd")}
