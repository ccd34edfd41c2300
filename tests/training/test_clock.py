from __future__ import annotations

import pytest

from isoclock.training.clock import Clock


class Time:
    """A clock's idea of now, which moves only when a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.synchronised = 0

    def __call__(self) -> float:
        return self.now_s

    def synchronise(self) -> None:
        self.synchronised += 1


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(time: Time) -> Clock:
    return Clock(time.synchronise, time)


def test_exactly_one_clock_runs(clock: Clock, time: Time) -> None:
    time.now_s += 100  # start-up is on no clock
    with clock.running("train"):
        time.now_s += 5
        with clock.running("evaluate"):
            time.now_s += 3
            with clock.running("io"):
                time.now_s += 2
            time.now_s += 1
        time.now_s += 4
        with clock.running(None):
            time.now_s += 50
        time.now_s += 1
    time.now_s += 100
    assert clock.read() == {"train": 10.0, "evaluate": 4.0, "io": 2.0}


def test_reading_while_running_counts_up_to_now(clock: Clock, time: Time) -> None:
    with clock.running("train"):
        time.now_s += 2
        assert clock.read()["train"] == 2.0
        time.now_s += 3
        assert clock.train_s == 5.0
        assert clock.read()["train"] == 5.0
    time.now_s += 9
    assert clock.train_s == 5.0


def test_the_device_is_waited_for_at_boundaries_only(clock: Clock, time: Time) -> None:
    with clock.running("train"):
        entered = time.synchronised
        for _ in range(100):
            _ = clock.train_s
        assert time.synchronised == entered == 1
    assert time.synchronised == 2


def test_waiting_for_the_device_belongs_to_what_ran(time: Time) -> None:
    def slow_device() -> None:
        time.now_s += 1

    clock = Clock(slow_device, time)
    with clock.running("train"):
        pass
    assert clock.read()["train"] == 1.0


def test_an_exception_stops_the_clock(clock: Clock, time: Time) -> None:
    def fail() -> None:
        with clock.running("train"), clock.running("evaluate"):
            time.now_s += 2
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    time.now_s += 7
    assert clock.read() == {"train": 0.0, "evaluate": 2.0, "io": 0.0}


def test_it_goes_on_from_an_earlier_segment(clock: Clock, time: Time) -> None:
    clock.restore({"train": 20.0, "evaluate": 1.0, "io": 0.5})
    with clock.running("train"):
        time.now_s += 2
    assert clock.read() == {"train": 22.0, "evaluate": 1.0, "io": 0.5}


def test_a_running_clock_cannot_be_restored(clock: Clock) -> None:
    with clock.running("io"), pytest.raises(RuntimeError, match="running"):
        clock.restore({"train": 0.0, "evaluate": 0.0, "io": 0.0})


def test_what_was_read_does_not_change_the_clock(clock: Clock) -> None:
    clock.read()["train"] = 99.0
    assert clock.read()["train"] == 0.0
