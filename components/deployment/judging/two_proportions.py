"""Two independent proportions compared once, at a sample that was planned."""

import math
from dataclasses import dataclass
from typing import Any

from components.deployment.judging.confidence_sequence import Count, Interval
from components.shared.machine.errors import UserError


@dataclass(frozen=True)
class Proportions:
    """Two independent proportions compared, b minus a.

    Attributes:
        a: Count of arm A.
        b: Count of arm B.
        interval_a: Wilson interval of A's rate.
        interval_b: Wilson interval of B's rate.
        difference: Of the rates; None where an arm has no observations.
        interval: Newcombe interval of the difference.
        cohens_h: Effect size; about 0.2 is small, 0.5 medium, 0.8 large.
        p_value: Two-sided, of equal rates.
        test: Name of the test.
    """

    a: Count
    b: Count
    interval_a: Interval
    interval_b: Interval
    difference: float | None
    interval: Interval
    cohens_h: float | None
    p_value: float
    test: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "a": list(self.a),
            "b": list(self.b),
            "interval_a": list(self.interval_a),
            "interval_b": list(self.interval_b),
            "difference": self.difference,
            "interval": list(self.interval),
            "cohens_h": self.cohens_h,
            "p_value": self.p_value,
            "test": self.test,
        }


def wilson_interval(count: Count, alpha: float = 0.05) -> Interval:
    """Score interval of a proportion (Wilson 1927); [0, 1] without observations."""
    from scipy.stats import binomtest

    if not count.of:
        return Interval(0.0, 1.0)
    found = binomtest(*count).proportion_ci(1 - alpha, method="wilson")
    return Interval(float(found.low), float(found.high))


def compare_proportions(a: Count, b: Count, alpha: float = 0.05) -> Proportions:
    """Compare two independent proportions.

    The interval is Newcombe's hybrid of the two Wilson intervals (1998, "Interval estimation for
    the difference between independent proportions", method 10). The test is the pooled z test (the
    chi-squared test of a 2 x 2 table), or Fisher's exact test where an expected count is below 5
    (Cochran's rule). Cohen's h is 2 asin sqrt(p_b) - 2 asin sqrt(p_a) (Cohen 1988, chapter 6).

    Args:
        a: Count of arm A.
        b: Count of arm B.
        alpha: The intervals hold at level `1 - alpha`.
    """
    of_a, of_b = wilson_interval(a, alpha), wilson_interval(b, alpha)
    if a.rate is None or b.rate is None:
        nothing = Interval(-1.0, 1.0)
        return Proportions(a, b, of_a, of_b, None, nothing, None, 1.0, "none: an arm has no data")
    difference = b.rate - a.rate
    interval = Interval(
        difference - math.hypot(b.rate - of_b.low, of_a.high - a.rate),
        difference + math.hypot(of_b.high - b.rate, a.rate - of_a.low),
    )
    h = 2 * math.asin(math.sqrt(b.rate)) - 2 * math.asin(math.sqrt(a.rate))
    p_value, test = _equal_rates(a, b)
    return Proportions(a, b, of_a, of_b, difference, interval, h, p_value, test)


def needed_per_arm(
    first: float,
    second: float,
    *,
    share_second: float = 0.5,
    power: float = 0.8,
    alpha: float = 0.05,
) -> tuple[int, int]:
    """Observations that a two-sided z test needs to tell two proportions apart.

    With r = n2 / n1 and the pooled proportion p (Fleiss, Levin and Paik 2003, "Statistical Methods
    for Rates and Proportions", section 4.2, without continuity correction):

        n1 = (z_alpha/2 sqrt((r + 1) p q) + z_power sqrt(r p1 q1 + p2 q2))^2 / (r (p2 - p1)^2)

    Args:
        first: Proportion of the first arm, between 0 and 1.
        second: Proportion of the second arm, another one.
        share_second: Second arm's share of all observations, between 0 and 1.
        power: Chance to find the difference.
        alpha: Chance to find one where there is none.

    Returns:
        Observations of the first and of the second arm.

    Raises:
        UserError: If a value lies outside of its range or the proportions are equal.
    """
    from scipy.stats import norm

    for name, value in (("share of B", share_second), ("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise UserError(f"the {name} is {value:g}; give a number between 0 and 1")
    if not 0 <= first <= 1 or not 0 <= second <= 1 or first == second:
        raise UserError(
            f"no sample tells rates of {first:g} and {second:g} apart; "
            "give two different ones between 0 and 1"
        )
    ratio = share_second / (1 - share_second)
    pooled = (first + ratio * second) / (1 + ratio)
    spread = norm.isf(alpha / 2) * math.sqrt((ratio + 1) * pooled * (1 - pooled)) + norm.ppf(
        power
    ) * math.sqrt(ratio * first * (1 - first) + second * (1 - second))
    n = spread**2 / (ratio * (second - first) ** 2)
    return math.ceil(n), math.ceil(ratio * n)


def power_of(first: float, second: float, n1: int, n2: int, alpha: float = 0.05) -> float:
    """Chance that a two-sided z test of `n1` and `n2` observations finds a difference.

    The inverse of `needed_per_arm`; the negligible chance of the wrong sign is left out.
    """
    from scipy.stats import norm

    pooled = (n1 * first + n2 * second) / (n1 + n2)
    equal = math.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
    each = math.sqrt(first * (1 - first) / n1 + second * (1 - second) / n2)
    found = abs(second - first) - norm.isf(alpha / 2) * equal
    return float(norm.cdf(found / each)) if each > 0 else float(found > 0)


def _equal_rates(a: Count, b: Count) -> tuple[float, str]:
    """Two-sided p-value of equal rates, and the test's name."""
    from scipy.stats import fisher_exact, norm

    happened, of = a.happened + b.happened, a.of + b.of
    if happened in (0, of):
        return 1.0, "none: the arms do not differ"
    if min(a.of, b.of) * min(happened, of - happened) / of < 5:
        table = [[count.happened, count.of - count.happened] for count in (a, b)]
        return float(fisher_exact(table).pvalue), "Fisher's exact test"
    pooled = happened / of
    z = (b.happened / b.of - a.happened / a.of) / math.sqrt(
        pooled * (1 - pooled) * (1 / a.of + 1 / b.of)
    )
    return float(2 * norm.sf(abs(z))), "z test of two proportions"
