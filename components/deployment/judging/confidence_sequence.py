"""Intervals that may be looked at after every observation without losing their promise.

An ordinary 95 % interval is right in 95 of 100 cases if it is looked at once. A rollout looks again
and again and stops when it likes what it sees; then ordinary intervals mislead far more often. A
*confidence sequence* is made for this: with probability `1 - alpha` all of its intervals, at every
number of observations, hold the truth at once.

How it is made (Robbins 1970, "Statistical methods related to the law of the iterated logarithm").
Let s of n tries have succeeded, each with unknown chance p. Compare how well the data are
explained by a mixture of all chances, weighted by a Beta(1/2, 1/2) distribution, and by p alone:

    evidence against p = B(s + 1/2, n - s + 1/2) / B(1/2, 1/2) / (p^s (1 - p)^(n - s))

For the true p this ratio is a fair game that starts with a stake of 1 (a martingale), so by Ville's
inequality (1939) the chance that it *ever* reaches 1/alpha is at most alpha. The interval holds all
p whose evidence is below 1/alpha. See also Howard, Ramdas, McAuliffe and Sekhon (2021),
"Time-uniform, nonparametric, nonasymptotic confidence sequences".

For two independent versions the product of the two ratios is such a game too. All pairs of rates
with a product below 1/alpha form a region, and the differences that occur in it form the interval.
It does not matter how the tries of the two alternate, as long as chance or the past decides it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

PRIOR = 0.5
"""Both parameters of the mixing Beta distribution. 1/2 is Jeffreys' choice; it gives rare errors
shorter intervals than the uniform 1."""


class Interval(NamedTuple):
    """Ends of an interval, both included."""

    low: float
    high: float


class Count(NamedTuple):
    """How often something happened, of the times that it could have."""

    happened: int
    of: int

    @property
    def rate(self) -> float | None:
        """Share of times that it happened; None without observations."""
        return self.happened / self.of if self.of else None


class Pairs(NamedTuple):
    """The same questions answered by two versions: how often both, or only one, was right."""

    both_right: int
    only_first: int
    only_second: int
    of: int

    @classmethod
    def of_answers(cls, right: Sequence[tuple[bool, bool]]) -> "Pairs":
        """Whether the first and the second version answered each question rightly."""
        both, first, second = (
            right.count(kind) for kind in ((True, True), (True, False), (False, True))
        )
        return cls(both, first, second, len(right))

    @property
    def first(self) -> Count:
        """Right answers of the first version."""
        return Count(self.both_right + self.only_first, self.of)

    @property
    def second(self) -> Count:
        """Right answers of the second version."""
        return Count(self.both_right + self.only_second, self.of)


def rate_interval(count: Count, alpha: float = 0.05) -> Interval:
    """Always-valid interval of a rate, which holds the observed one; [0, 1] without observations.

    Args:
        count: What was seen up to now.
        alpha: Chance that the interval misses the rate at any look ever, above 0 and below 1.

    Raises:
        ValueError: If the count or alpha is impossible.
    """
    _check(alpha, count)
    if count.of == 0:
        return Interval(0.0, 1.0)
    allowed = _allowed(alpha, count)
    happened, failed = count.happened, count.of - count.happened
    return Interval(_lowest(happened, failed, allowed), 1.0 - _lowest(failed, happened, allowed))


def difference_interval(first: Count, second: Count, alpha: float = 0.05) -> Interval:
    """Always-valid interval of the difference of two independent rates, second minus first.

    It lies within [-1, 1] and holds the observed difference. `alpha` and `ValueError` are as for
    `rate_interval`.
    """
    _check(alpha, first, second)
    allowed = _allowed(alpha, first) + _allowed(alpha, second) - math.log(1 / alpha)
    # The lowest difference has the first rate high and the second low; the highest is the
    # negative of the lowest with the versions exchanged.
    return Interval(
        max(-1.0, _lowest_difference(first, second, allowed)),
        min(1.0, -_lowest_difference(second, first, allowed)),
    )


def paired_difference_interval(pairs: Pairs, alpha: float = 0.05) -> Interval:
    """Always-valid interval of a difference of two rates seen on the same questions.

    Only the questions that one of the two gets right tell them apart (McNemar 1947). Each question
    is of one of three kinds: only the first right, only the second, no difference. The evidence is
    that of the module's head with a Dirichlet(1/2, 1/2, 1/2) mixture for the three chances, and the
    interval holds all differences of the first two kinds' chances among what is not ruled out.

    It is of second minus first. `alpha` and `ValueError` are as for `rate_interval`.
    """
    same = pairs.of - pairs.only_first - pairs.only_second
    _check(alpha, pairs.first, pairs.second, Count(pairs.both_right, same))
    if pairs.of == 0:
        return Interval(-1.0, 1.0)
    kinds = (pairs.only_first, same, pairs.only_second)
    mixture = sum(math.lgamma(count + PRIOR) - math.lgamma(PRIOR) for count in kinds)
    mixture -= math.lgamma(pairs.of + 3 * PRIOR) - math.lgamma(3 * PRIOR)
    allowed = math.log(1 / alpha) - mixture
    return Interval(-_highest_shift(kinds[::-1], allowed), _highest_shift(kinds, allowed))


def smallest_root_above(
    function: Callable[[float], float], start: float = 1.0, limit: float = 1e300
) -> float | None:
    """Where a non-decreasing function of x > 0, below 0 near 0, crosses 0.

    To floating-point precision, from the first guess `start`; None if it is below 0 up to `limit`.
    """
    from scipy.optimize import brentq

    high = start
    while function(high) < 0:
        high *= 16
        if high > limit:
            return None
    low = high / 16
    while function(low) >= 0:
        low /= 16
        if low < 1 / limit:
            return 0.0
    # In logarithms, because the root may be of any magnitude.
    return math.exp(
        brentq(lambda x: function(math.exp(x)), math.log(low), math.log(high), xtol=1e-13)
    )


def _allowed(alpha: float, count: Count) -> float:
    """Largest negative log-likelihood that keeps the evidence below 1/alpha."""
    from scipy.special import betaln

    mixture = betaln(count.happened + PRIOR, count.of - count.happened + PRIOR)
    return math.log(1 / alpha) - float(mixture - betaln(PRIOR, PRIOR))


def _surprise(happened: int, rate: float) -> float:
    """-happened log(rate), where nothing that did not happen surprises."""
    if happened == 0:
        return 0.0
    return -happened * math.log(rate) if rate > 0 else math.inf


def _tilted(happened: int, failed: int, slope: float) -> float:
    """The rate in [0, 1] at which the negative log-likelihood has the given slope.

    Its derivative is (n p - s) / (p (1 - p)), so the rate solves slope p^2 + (n - slope) p - s = 0:
    of the two roots the one in [0, 1]. Slope 0 gives the observed rate. Where no rate has the
    slope, it is the end of [0, 1] that comes closest.
    """
    n = happened + failed
    middle = n - slope
    # hypot-like form of (n - slope)^2 + 4 slope s that cannot cancel to less than 0.
    root = math.sqrt(max(0.0, middle * middle + 4 * slope * happened))
    if middle >= 0:
        return min(1.0, 2 * happened / (middle + root)) if middle + root > 0 else 0.0
    return min(1.0, (root - middle) / (2 * slope))


def _lowest(happened: int, failed: int, allowed: float) -> float:
    """Smallest rate with a negative log-likelihood of at most `allowed`."""
    if happened == 0:
        return 0.0

    def excess(slope: float) -> float:
        rate, rest = _tilted(happened, failed, -slope), _tilted(failed, happened, slope)
        return _surprise(happened, rate) + _surprise(failed, rest) - allowed

    slope = smallest_root_above(excess)
    return 0.0 if slope is None else _tilted(happened, failed, -slope)


def _lowest_difference(first: Count, second: Count, allowed: float) -> float:
    """Smallest `second - first` of rates with a joint negative log-likelihood of at most `allowed`.

    The set of such rates is convex. At its outermost point in the direction (1, -1) the slopes of
    the two log-likelihoods are equal and opposite (Lagrange), so one number, the slope, is sought.
    """
    s1, f1 = first.happened, first.of - first.happened
    s2, f2 = second.happened, second.of - second.happened

    def excess(slope: float) -> float:
        return (
            _surprise(s1, _tilted(s1, f1, slope))
            + _surprise(f1, _tilted(f1, s1, -slope))
            + _surprise(s2, _tilted(s2, f2, -slope))
            + _surprise(f2, _tilted(f2, s2, slope))
            - allowed
        )

    slope = smallest_root_above(excess)
    if slope is None:
        return -1.0
    return _tilted(s2, f2, -slope) - _tilted(s1, f1, slope)


def _highest_shift(kinds: tuple[int, int, int], allowed: float) -> float:
    """Largest `p3 - p1` of three chances with a negative log-likelihood of at most `allowed`.

    As in `_lowest_difference` the outermost point is found by its slope t > 0. There the chances
    are n1 / (m + t), n2 / m, n3 / (m - t), with m such that they sum to 1. Where nothing of the
    third kind was seen, m may come down to t, and the third takes what is left of the 1.
    """
    from scipy.optimize import brentq

    n1, n2, n3 = kinds

    def chances(t: float) -> tuple[float, float, float]:
        if n3 == 0:
            p1, p2 = n1 / (2 * t), n2 / t
            if p1 + p2 <= 1:
                return p1, p2, 1 - p1 - p2

        def left_over(m: float) -> float:
            total = n2 / m + (n3 / (m - t) if n3 else 0.0)
            return total + (n1 / (m + t) if n1 else 0.0) - 1

        # At m = t + n3 the third alone is 1; at m = t + n all together are at most 1.
        low, high = t + n3, t + n1 + n2 + n3
        m = low if left_over(low) <= 0 else brentq(left_over, low, high, xtol=1e-300, rtol=1e-14)
        return n1 / (m + t), n2 / m, (n3 / (m - t) if n3 else 0.0)

    def excess(t: float) -> float:
        return sum(map(_surprise, kinds, chances(t))) - allowed

    slope = smallest_root_above(excess, limit=1e15)
    if slope is None:
        return 1.0
    p1, _, p3 = chances(slope)
    return p3 - p1


def _check(alpha: float, *counts: Count) -> None:
    """Refuse counts and levels that make no sense."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha} does not lie between 0 and 1")
    for happened, of in counts:
        if not 0 <= happened <= of:
            raise ValueError(f"{happened} of {of} is not a count")
