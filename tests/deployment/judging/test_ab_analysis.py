import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from components.deployment.judging.ab_analysis import (
    AbResult,
    Arm,
    Plan,
    analyse_ab,
    compare_proportions,
    wilson_interval,
)
from components.deployment.judging.confidence_sequence import Count
from components.shared.machine.errors import UserError


@pytest.mark.parametrize(
    "wrong",
    [
        *({"smallest_effect": 0.0}, {"smallest_effect": 0.9}, {"baseline": 1.2}, {"alpha": 0.0}),
        *({"share_b": 0.0}, {"share_b": 1.0}, {"power": 1.0}, {"power": 2.0}),
    ],
)
def test_a_plan_that_cannot_be_is_refused_at_once(wrong):
    with pytest.raises(UserError, match="give"):
        Plan(**({"baseline": 0.85} | wrong))


PLAN = Plan(baseline=0.85, smallest_effect=0.03)


def read(
    right_a, right_b, n=2500, failed_a=10, failed_b=10, requests=(5000, 5000), plan=PLAN
) -> AbResult:
    found = analyse_ab(
        Arm("4", Count(right_a, n), Count(failed_a, requests[0])),
        Arm("5", Count(right_b, n), Count(failed_b, requests[1])),
        plan,
    )
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["plan"]["needed"] == list(plan.needed)
    assert content["power_of_sample"] == (plan.power_at(n, n) if n else None)
    return found


TENTH = Plan(baseline=0.85, share_b=0.1)


@pytest.mark.parametrize(
    ("right", "more", "winner", "words"),
    [
        ((2125, 2225), {}, "B", "more often right: accuracy 89.0 % of B against 85.0 % of A"),
        ((2225, 2125), {}, "A", "A is more often right"),
        ((850, 950), {"n": 1000}, "undecided", f"1,000 of {PLAN.needed[0]:,}"),
        ((0, 0), {"n": 0, "failed_a": 0, "failed_b": 0, "requests": (0, 0)}, "undecided", "0 of"),
        ((2125, 2130), {}, "undecided", "choose by cost"),
        ((2125, 2165), {}, "undecided", "a further test needs more"),
        ((2125, 2225), {"failed_b": 60}, "undecided", "fails more requests"),
        ((2125, 2225), {"failed_a": 60}, "B", ""),
        ((2125, 2225), {"requests": (5000, 4500)}, "undecided", "fix the split"),
        ((2125, 2225), {"requests": (5000, 4950)}, "B", ""),
        ((2125, 2225), {"plan": TENTH}, "undecided", "fix the split"),
    ],
)
def test_who_wins_and_why(right, more, winner, words):
    found = read(*right, **more)
    assert (found.winner, words in found.reason) == (winner, True), found.reason


@pytest.mark.parametrize(
    ("a", "b", "interval"),
    [  # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10
        (Count(48, 80), Count(56, 70), (0.0524, 0.3339)),
        (Count(3, 10), Count(9, 10), (0.1705, 0.8090)),
        (Count(2, 7), Count(6, 7), (0.0582, 0.8062)),
        (Count(0, 29), Count(5, 56), (-0.0381, 0.1926)),
        (Count(0, 20), Count(0, 10), (-0.1611, 0.2775)),
        (Count(0, 10), Count(10, 10), (0.6075, 1.0000)),
    ],
)
def test_the_difference_has_newcombes_own_intervals(a, b, interval):
    assert compare_proportions(a, b).interval == pytest.approx(interval, abs=5e-5)


def test_wilson_interval_of_the_textbook():
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3
    assert wilson_interval(Count(81, 263)) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(Count(15, 148)) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(Count(0, 20)) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(Count(0, 0)) == (0, 1)


def test_the_z_test_is_the_chi_squared_test_and_small_samples_get_fishers():
    from scipy.stats import chi2_contingency

    found = compare_proportions(Count(60, 200), Count(90, 210))
    table = [[60, 140], [90, 120]]
    assert found.p_value == pytest.approx(chi2_contingency(table, correction=False).pvalue)
    assert found.test.startswith("z test")
    # Fisher's lady tasting tea: 3 of 4 against 1 of 4, two-sided p = 34/70
    tea = compare_proportions(Count(3, 4), Count(1, 4))
    assert tea.p_value == pytest.approx(34 / 70)
    assert tea.test.startswith("Fisher")


@pytest.mark.parametrize(("a", "b", "h"), [(40, 50, 0.20), (45, 65, 0.40)])
def test_cohens_h(a, b, h):
    # Cohen 1988, section 6.2
    found = compare_proportions(Count(a, 100), Count(b, 100))
    assert found.cohens_h == pytest.approx(h, abs=5e-3)


@pytest.mark.parametrize(
    ("baseline", "effect", "power", "n"),
    [(0.7, 0.1, 0.8, 356), (0.10, 0.05, 0.8, 686), (0.05, 0.05, 0.9, 582), (0.5, 0.1, 0.8, 388)],
)
def test_needed_sample_sizes_of_the_tables(baseline, effect, power, n):
    assert Plan(baseline, effect, power=power).needed == (n, n)


@settings(deadline=None)
@given(
    *(st.floats(0.5, 0.98), st.floats(0.01, 0.4), st.floats(0.1, 0.9)),
    *(st.floats(0.5, 0.99), st.floats(0.001, 0.2)),
)
def test_the_needed_sample_has_the_power(baseline, effect, share, power, alpha):
    plan = Plan(baseline, effect, share, power, alpha)
    assert plan.power_at(*plan.needed) >= power - 0.02
    of_a, of_b = plan.needed
    assert plan.power_at(of_a // 2, of_b // 2 + 1) < plan.power_at(of_a * 2, of_b * 2)


def test_the_power_is_what_a_simulation_shows():
    rng, plan = np.random.default_rng(1), Plan(0.7, 0.1, share_b=0.3)
    n1, n2 = plan.needed
    assert n1 / n2 == pytest.approx(0.7 / 0.3, rel=0.01)
    found = [
        compare_proportions(Count(int(x), n1), Count(int(y), n2)).p_value < 0.05
        for x, y in zip(rng.binomial(n1, 0.7, 1500), rng.binomial(n2, 0.6, 1500), strict=True)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)
    assert plan.power_at(n1, n2) == pytest.approx(0.8, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.3, 0.8), st.floats(0.1, 0.2), st.integers(5, 95))
def test_the_reviews_at_hand_are_enough_in_99_of_100_tests(baseline, effect, percent):
    plan = Plan(baseline, effect, share_b=percent / 100)

    def chance(n):
        a, b = plan.needed
        return sum(binom.pmf(k, n, plan.share_b) for k in range(b, n - a + 1))

    needed = plan.reviews_needed
    assert chance(needed) >= 0.99 - 1e-9
    assert chance(needed - 1) < 0.99 + 1e-9
