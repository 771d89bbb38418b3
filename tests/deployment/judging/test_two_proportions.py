import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.deployment.judging.confidence_sequence import Count
from components.deployment.judging.two_proportions import (
    compare_proportions,
    needed_per_arm,
    power_of,
    wilson_interval,
)
from components.shared.machine.errors import UserError


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


def test_cohens_h():
    # Cohen 1988, section 6.2: proportions .50 and .40 give h = .20; .65 and .45 give .40
    assert compare_proportions(Count(40, 100), Count(50, 100)).cohens_h == pytest.approx(
        0.20, abs=5e-3
    )
    assert compare_proportions(Count(45, 100), Count(65, 100)).cohens_h == pytest.approx(
        0.40, abs=5e-3
    )


@pytest.mark.parametrize(
    ("first", "second", "power", "n"),
    [(0.6, 0.7, 0.8, 356), (0.10, 0.15, 0.8, 686), (0.05, 0.10, 0.9, 582), (0.5, 0.6, 0.8, 388)],
)
def test_needed_sample_sizes_of_the_tables(first, second, power, n):
    assert needed_per_arm(first, second, power=power) == (n, n)


def test_unequal_shares_need_more_in_all():
    equal = sum(needed_per_arm(0.85, 0.88))
    at_ten = needed_per_arm(0.85, 0.88, share_second=0.1)
    assert at_ten[0] == pytest.approx(9 * at_ten[1], rel=0.01)
    assert sum(at_ten) > 2.5 * equal


@settings(deadline=None)
@given(
    st.floats(0.02, 0.98),
    st.floats(0.02, 0.98),
    st.floats(0.1, 0.9),
    st.floats(0.5, 0.99),
    st.floats(0.001, 0.2),
)
def test_the_needed_sample_has_the_power(first, second, share, power, alpha):
    if abs(first - second) < 0.01:
        return
    n1, n2 = needed_per_arm(first, second, share_second=share, power=power, alpha=alpha)
    assert power_of(first, second, n1, n2, alpha) >= power - 0.02
    if min(n1, n2) > 60:
        assert power_of(first, second, n1, n2, alpha) == pytest.approx(power, abs=0.02)


def test_the_power_is_what_a_simulation_shows():
    rng = np.random.default_rng(1)
    n1, n2 = needed_per_arm(0.6, 0.7, share_second=0.3)
    found = [
        compare_proportions(Count(int(x), n1), Count(int(y), n2)).p_value < 0.05
        for x, y in zip(rng.binomial(n1, 0.6, 1500), rng.binomial(n2, 0.7, 1500), strict=True)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)


@pytest.mark.parametrize(
    "wrong",
    [{"power": 1.0}, {"alpha": 0.0}, {"share_second": 1.0}, {"first": 0.7}, {"second": 1.2}],
)
def test_impossible_plans_are_refused(wrong):
    with pytest.raises(UserError, match="give"):
        needed_per_arm(**({"first": 0.6, "second": 0.7} | wrong))
