import numpy as np
import pytest
from scipy import stats as scipy_stats

from isoclock.statistics.estimate import t_interval


def test_t_interval_is_scipys():
    values = [0.41, 0.44, 0.40, 0.43]
    spread = t_interval(values)
    low, high = scipy_stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy_stats.sem(values))
    assert (spread.n, spread.mean, spread.low, spread.high) == pytest.approx((4, 0.42, low, high))
    assert spread.half_width == pytest.approx((high - low) / 2)


def test_one_seed_has_a_mean_and_no_interval():
    spread = t_interval([0.4])
    assert (spread.n, spread.mean, spread.low, spread.high, spread.half_width) == (1, 0.4, None, None, None)
    assert (t_interval([]).n, t_interval([]).mean) == (0, None)


def test_a_hole_is_no_number():
    with pytest.raises(ValueError, match="not finite"):
        t_interval([0.4, float("nan")])
