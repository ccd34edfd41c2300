from __future__ import annotations

import pytest

from isoclock.params.variants import (
    HeldOut,
    is_derived,
    is_exact,
    split_factor,
    split_held_out,
    the_one,
    whole_dataset,
    with_factor,
    with_held_out,
    without_factor,
)
from isoclock.schema import is_name


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 1.5, 1000.0])
@pytest.mark.parametrize("method", ["kd", "mgd.tuned", "cwd-t1"])
def test_a_factor_is_part_of_a_name(method: str, factor: float) -> None:
    name = with_factor(method, factor)
    assert is_name(name)
    assert split_factor(name) == (method, factor)
    assert without_factor(name) == method


def test_the_factor_1_is_the_entry_itself() -> None:
    assert with_factor("kd", 1.0) == "kd"
    assert split_factor("kd") == ("kd", 1.0)


@pytest.mark.parametrize("name", ["kd.x1", "kd.x2.0", "kd.x02", "kd.x0", "kd.x", "kd.x1e3", ".x2", "kd.x2x", "kd.y2"])
def test_a_factor_has_one_spelling(name: str) -> None:
    assert split_factor(name) == (name, 1.0)


@pytest.mark.parametrize("number", [0.1234567, 1e-5, 1e7, 1 / 3])
def test_numbers_that_a_name_cannot_hold(number: float) -> None:
    assert not is_exact(number)
    assert is_exact(0.25)


def test_what_is_held_out_is_part_of_a_name() -> None:
    name = with_held_out("streets-semi", HeldOut(0.2, 7))
    assert name == "streets-semi.held-out-0.2-seed-7"
    assert is_name(name)
    assert split_held_out(name) == ("streets-semi", HeldOut(0.2, 7))
    assert whole_dataset(name) == whole_dataset("streets-semi") == "streets-semi"


@pytest.mark.parametrize("part", ["0.20-seed-7", "0.0-seed-7", "1.0-seed-7", "0.2-seed-07", f"0.2-seed-{2**63}", "0.2"])
def test_what_is_held_out_has_one_spelling(part: str) -> None:
    assert split_held_out(f"streets.held-out-{part}") == (f"streets.held-out-{part}", None)


def test_names_of_these_forms_are_reserved() -> None:
    assert all(map(is_derived, ("kd.x2", "kd.x2.0", "a.held-out-0.2-seed-1", "a.held-out-0.20-seed-1")))
    assert not any(map(is_derived, ("kd", "kd.tuned", "x2", "kd-x2", "held-out")))


def test_a_method_of_a_grid_with_any_factor() -> None:
    assert the_one(["none", "kd", "kd.x2"], "kd") == "kd"
    assert the_one(["none.x2", "kd.x2"], "kd") == "kd.x2"
    assert the_one(["kd.x2", "kd.x4"], "kd") is None, "a sweep has several"
    assert the_one(["none"], "kd") is None
