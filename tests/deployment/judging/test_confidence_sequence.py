import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln

from components.deployment.judging.confidence_sequence import (
    Count,
    Interval,
    Pairs,
    difference_interval,
    paired_difference_interval,
    rate_interval,
)

count = st.integers(0, 5000).flatmap(lambda n: st.builds(Count, st.integers(0, n), st.just(n)))
alphas = st.floats(1e-6, 0.5)
pairs = st.tuples(*[st.integers(0, 2000)] * 4).map(
    lambda kinds: Pairs(kinds[0], kinds[1], kinds[2], sum(kinds))
)


def log_evidence(happened, of, rate):
    """Of the mixture against a rate, as the module's head gives it; arrays allowed."""
    mixture = betaln(happened + 0.5, of - happened + 0.5) - betaln(0.5, 0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(happened > 0, happened * np.log(rate), 0.0)
        return mixture - hits - np.where(of > happened, (of - happened) * np.log1p(-rate), 0.0)


@settings(deadline=None)
@given(count, alphas)
def test_the_interval_holds_the_observed_rate_mirrors_and_ends_at_the_bound(seen, alpha):
    low, high = rate_interval(seen, alpha)
    assert 0 <= low <= high <= 1
    if seen.of:
        assert low - 1e-12 <= seen.rate <= high + 1e-12
    other = rate_interval(Count(seen.of - seen.happened, seen.of), alpha)
    assert other == pytest.approx((1 - high, 1 - low), abs=1e-12)
    for end in {low, high} - {0, 1}:
        evidence = log_evidence(seen.happened, seen.of, end)
        assert evidence == pytest.approx(-math.log(alpha), rel=1e-6, abs=1e-6)


def test_nothing_seen_says_nothing():
    assert rate_interval(Count(0, 0)) == Interval(0, 1)
    assert difference_interval(Count(0, 0), Count(0, 0)) == Interval(-1, 1)
    assert difference_interval(Count(0, 50), Count(0, 0)).high == 1
    assert paired_difference_interval(Pairs(0, 0, 0, 0)) == Interval(-1, 1)


@settings(deadline=None)
@given(count, count, alphas)
def test_the_difference_holds_the_observed_one_and_turns_with_its_versions(first, second, alpha):
    low, high = difference_interval(first, second, alpha)
    assert -1 <= low <= high <= 1
    if first.of and second.of:
        assert low - 1e-12 <= second.rate - first.rate <= high + 1e-12
    assert difference_interval(second, first, alpha) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *(((3, 40), (9, 30)), ((0, 40), (0, 25)), ((40, 40), (1, 5))),
        *(((7, 9), (0, 0)), ((1, 2000), (5, 9))),
    ],
)
def test_the_difference_agrees_with_a_search_over_all_pairs_of_rates(first, second):
    grid = np.concatenate([np.geomspace(1e-7, 1e-3, 300), np.linspace(1e-3, 1 - 1e-3, 2500)])
    grid = np.concatenate([[0], grid, 1 - np.geomspace(1e-3, 1e-7, 300), [1]])
    one, two = log_evidence(*first, grid), log_evidence(*second, grid)
    for alpha in (0.05, 0.005):
        allowed = (one[:, None] + two[None, :]) < -math.log(alpha)
        differences = (grid[None, :] - grid[:, None])[allowed]
        found = difference_interval(Count(*first), Count(*second), alpha)
        assert found == pytest.approx((differences.min(), differences.max()), abs=1.5e-3)


@settings(deadline=None)
@given(pairs, alphas)
def test_the_paired_difference_holds_the_observed_one_and_turns(seen, alpha):
    low, high = paired_difference_interval(seen, alpha)
    assert -1 <= low <= high <= 1
    if seen.of:
        assert low - 1e-9 <= seen.second.rate - seen.first.rate <= high + 1e-9
    turned = seen._replace(only_first=seen.only_second, only_second=seen.only_first)
    assert paired_difference_interval(turned, alpha) == pytest.approx((-high, -low), abs=1e-6)


@pytest.mark.parametrize("kinds", [(60, 7, 20), (0, 9, 3), (50, 0, 0), (0, 12, 0), (30, 4, 0)])
def test_the_paired_difference_agrees_with_a_search_over_the_simplex(kinds):
    from scipy.special import gammaln

    same, first, second = kinds
    n, counts = sum(kinds), np.array([first, same, second])
    grid = np.linspace(0, 1, 1201)
    p1, p3 = np.meshgrid(grid, grid, indexing="ij")
    p2 = 1 - p1 - p3
    inside = p2 >= -1e-12
    chances = np.stack([p1[inside], np.clip(p2[inside], 0, 1), p3[inside]])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(counts[:, None] > 0, counts[:, None] * np.log(chances), 0).sum(axis=0)
    mixture = gammaln(counts + 0.5).sum() - 3 * gammaln(0.5) - gammaln(n + 1.5) + gammaln(1.5)
    kept = (chances[2] - chances[0])[mixture - logs < math.log(20)]
    found = paired_difference_interval(Pairs(same, first, second, n))
    assert found == pytest.approx((kept.min(), kept.max()), abs=3e-3)


@pytest.mark.parametrize("bad", [Count(-1, 4), Count(5, 4)])
def test_impossible_counts_are_refused(bad):
    with pytest.raises(ValueError, match="is not a count"):
        rate_interval(bad)
    with pytest.raises(ValueError, match="alpha"):
        rate_interval(Count(1, 2), 1.0)


RUNS, TRIES, ALPHA = 1000, 2000, 0.05


def test_looking_after_every_observation_keeps_the_promise():
    rng = np.random.default_rng(7)
    for rate in (0.02, 0.3):
        happened = rng.random((RUNS, TRIES), dtype=np.float32).__lt__(rate).cumsum(axis=1)
        evidence = log_evidence(happened, np.arange(1, TRIES + 1), rate)
        missed = (evidence >= -math.log(ALPHA)).any(axis=1).mean()
        assert missed <= ALPHA
        # The vectorised evidence is the interval's: they rule out the true rate together.
        for run in range(0, RUNS, 100):
            low, high = rate_interval(Count(int(happened[run, 500]), 501), ALPHA)
            assert (low <= rate <= high) == (evidence[run, 500] < -math.log(ALPHA))
