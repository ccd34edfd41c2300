import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoclock.report.curve import Bounds, Curve

MIOU = st.floats(0.01, 0.99)
POINTS = st.lists(
    st.tuples(st.floats(1, 1e6), MIOU, st.integers(1, 5)), min_size=1, max_size=6, unique_by=lambda p: p[0]
)


def test_between_points_it_is_straight_in_the_logarithm_of_anchor_steps():
    curve = Curve.through([(400, 0.5, 1), (100, 0.4, 1)])
    assert curve.reaches(0.45).known == pytest.approx(200)
    assert curve.reaches(0.425).known == pytest.approx(100 * 2**0.5)


def test_beyond_the_measured_scores_there_is_a_bound():
    curve = Curve.through([(100, 0.4, 1), (400, 0.5, 1)])
    assert curve.reaches(0.39) == Bounds(0, 100)
    assert curve.reaches(0.51) == Bounds(400, math.inf)
    assert [curve.reaches(miou).known for miou in (0.4, 0.5)] == [100, 400]


def test_one_point_gives_bounds_and_itself():
    curve = Curve.through([(100, 0.4, 1)])
    assert [curve.reaches(miou) for miou in (0.3, 0.4, 0.5)] == [
        Bounds(0, 100),
        Bounds(100, 100),
        Bounds(100, math.inf),
    ]


def test_a_fall_is_pooled_by_weight_and_its_shortest_run_counts():
    curve = Curve.through([(100, 0.4, 3), (200, 0.50, 2), (400, 0.47, 1), (800, 0.6, 3)])
    assert curve.mious == pytest.approx((0.4, 0.49, 0.49, 0.6))
    assert curve.reaches(curve.mious[1]).known == 200
    assert 400 < curve.reaches(curve.mious[1] + 1e-6).known < 401


def test_a_bound_divides_into_the_bound_on_the_other_side():
    assert Bounds(0, 100).under(300) == Bounds(3, math.inf)
    assert Bounds(400, math.inf).under(300) == Bounds(0, 0.75)
    assert Bounds(400, math.inf).over(100) == Bounds(4, math.inf)
    assert Bounds(150, 150).under(300).known == 2


@settings(deadline=None)  # the first one imports scipy
@given(POINTS, MIOU, MIOU)
def test_more_miou_takes_more_steps(points, first, second):
    low, high = (Curve.through(points).reaches(miou) for miou in sorted((first, second)))
    assert low.low <= high.low * (1 + 1e-9)
    assert low.high <= high.high * (1 + 1e-9)


@settings(deadline=None)  # the first one imports scipy
@given(POINTS)
def test_a_number_lies_within_the_runs_and_its_curve_never_falls(points):
    curve = Curve.through(points)
    assert list(curve.mious) == sorted(curve.mious)
    assert min(m for _, m, _ in points) <= curve.mious[0] * (1 + 1e-9)
    for miou in curve.mious:
        known = curve.reaches(miou).known
        assert curve.steps[0] <= known <= curve.steps[-1]
