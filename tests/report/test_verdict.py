import pytest

from isoclock.report.verdict import Claim, verdict
from isoclock.statistics.estimate import Estimate


def claim(method, mean, half=0.01, n=5, distinguishable=True):
    found = Estimate(n, mean, None, None) if half is None else Estimate(n, mean, mean - half, mean + half)
    return Claim(method, "kd", found, distinguishable)


def compute(*claims):
    return verdict(claims, (), ("compute-400", ""))[0].replace("\N{NO-BREAK SPACE}", " ")


def test_methods_that_differ_are_named_with_interval_and_n():
    assert compute(claim("cwd", 0.02), claim("none", -0.03, n=4), claim("mgd", 0.001, distinguishable=False)) == (
        "At equal compute (compute-400), cwd (+2.0 [+1.0, +3.0] points) scores above kd; none (-3.0 [-4.0, -2.0] points) scores "
        "below kd; mgd is not distinguishable from it (n = 4 to 5; mIoU with 95 % interval)."
    )


def test_methods_beyond_three_are_counted():
    many = [claim(f"m{number}", 0.01 * (number + 1)) for number in range(5)]
    assert "m4 (+5.0 [+4.0, +6.0] points), m3 (+4.0 [+3.0, +5.0] points), m2 (" in compute(*many)
    assert "and 2 more score above kd (n = 5;" in compute(*many)
    alike = [claim(f"m{number}", 0.01, distinguishable=False) for number in range(5)]
    assert "5 methods are not distinguishable from it" in compute(claim("cwd", 0.02), *alike)


def test_no_difference_is_said_with_the_largest_one():
    assert compute(claim("cwd", 0.02, 0.03, 3, False), claim("none", -0.03, 0.04, 3, False)) == (
        "At equal compute (compute-400), no method is distinguishable from kd at n = 3; the largest difference in mIoU is that "
        "of none, -3.0 [-7.0, +1.0] points."
    )
    assert compute(claim("cwd", 0.02, None, 1, False)).endswith("+2.0 points (one seed has no interval).")


@pytest.mark.parametrize("claims", [(), (Claim("cwd", "kd", Estimate(0, None), False),)])
def test_nothing_to_compare_is_said(claims):
    for sentence in verdict(claims, claims):
        assert "nothing to compare" in sentence


def test_there_are_two_sentences():
    both = verdict([claim("cwd", 0.02)], [claim("cwd", 0.03)], ("compute-400", "iteration-400"))
    assert [sentence.partition(",")[0] for sentence in both] == [
        "At equal compute (compute-400)",
        "At equal iterations (iteration-400)",
    ]
