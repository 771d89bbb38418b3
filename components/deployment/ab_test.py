"""Two candidates at fixed shares of the traffic: which one is better, and is it worth knowing?

Unlike a canary, which is watched all the time and stopped at the first sign of harm, an A/B test is
planned: the smallest difference that would matter says how many labelled reviews each arm has to
answer, and the verdict is read once these are there. So the ordinary statistics of two proportions
hold, and no look before counts.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from components.contracts.errors import UserError
from components.deployment.confidence_sequence import Count, Interval

SPLIT_ALPHA = 0.001
"""A split that fits its plan as badly as this by chance is taken for a fault of the splitter. Low,
as customary, because it is checked with so many requests that small p-values are easily had."""


class Winner(StrEnum):
    """Which arm to go on with."""

    A = "A"
    B = "B"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Plan:
    """What is fixed before the test begins.

    Attributes:
        baseline: Accuracy that is expected of arm A, between 0 and 1.
        smallest_effect: Smallest difference of accuracy that would matter, above 0.
        share_b: Arm B's share of the traffic, between 0 and 1.
        power: Chance to find a difference of that size.
        alpha: Chance to find a difference where there is none.

    Raises:
        UserError: If a value lies outside of its range.
    """

    baseline: float
    smallest_effect: float = 0.03
    share_b: float = 0.5
    power: float = 0.8
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.smallest_effect <= max(self.baseline, 1 - self.baseline) <= 1:
            raise UserError(
                f"an accuracy of {self.baseline:g} cannot change by {self.smallest_effect:g}; "
                "give a baseline between 0 and 1 and a smaller effect above 0"
            )
        _ = self.needed  # refuses the other values

    @property
    def needed(self) -> tuple[int, int]:
        """Labelled reviews that arm A and arm B have to answer.

        For the smallest effect up or down from the baseline, whichever asks for more.
        """
        return max(
            needed_per_arm(
                self.baseline,
                rate,
                share_second=self.share_b,
                power=self.power,
                alpha=self.alpha,
            )
            for rate in (
                self.baseline - self.smallest_effect,
                self.baseline + self.smallest_effect,
            )
            if 0 <= rate <= 1
        )


@dataclass(frozen=True)
class Arm:
    """What one candidate did.

    Attributes:
        version: Model version.
        right: Right answers among the labelled reviews that it answered.
        failed: Requests that its servers failed, among all but the client's mistakes.
    """

    version: str
    right: Count
    failed: Count


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


@dataclass(frozen=True)
class AbResult:
    """The outcome of an A/B test.

    Attributes:
        winner: A, B or undecided.
        reason: One sentence with the numbers.
        plan: What was fixed before.
        arms: A and B.
        accuracy: Compared shares of right answers.
        failures: Compared shares of failed requests.
        split_p_value: Of the requests being split as planned.
    """

    winner: Winner
    reason: str
    plan: Plan
    arms: tuple[Arm, Arm]
    accuracy: Proportions
    failures: Proportions
    split_p_value: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        plan = self.plan
        return {
            "winner": str(self.winner),
            "reason": self.reason,
            "plan": {
                "baseline": plan.baseline,
                "smallest_effect": plan.smallest_effect,
                "share_b": plan.share_b,
                "power": plan.power,
                "alpha": plan.alpha,
                "needed": list(plan.needed),
            },
            "versions": [arm.version for arm in self.arms],
            "accuracy": self.accuracy.to_dict(),
            "failures": self.failures.to_dict(),
            "split_p_value": self.split_p_value,
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


def analyse_ab(a: Arm, b: Arm, plan: Plan) -> AbResult:
    """Read an A/B test.

    An arm wins when the planned reviews are there, the two-sided test finds a difference of
    accuracy, and the winner does not fail significantly more requests than the other. If the
    requests were not split as planned, something else than chance decided who answers, and nothing
    can be concluded.

    Args:
        a: What arm A did.
        b: What arm B did.
        plan: What was fixed before.

    Returns:
        The outcome, with what would be needed where it is undecided.
    """
    from scipy.stats import binomtest

    accuracy = compare_proportions(a.right, b.right, plan.alpha)
    failures = compare_proportions(a.failed, b.failed, plan.alpha)
    requests = a.failed.of + b.failed.of
    split = float(binomtest(b.failed.of, requests, plan.share_b).pvalue) if requests else 1.0
    winner, reason = _winner(accuracy, failures, split, plan)
    return AbResult(winner, reason, plan, (a, b), accuracy, failures, split)


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


def _winner(
    accuracy: Proportions, failures: Proportions, split: float, plan: Plan
) -> tuple[Winner, str]:
    """The rule of `analyse_ab`, and its reason in words."""
    if split < SPLIT_ALPHA:
        total = failures.a.of + failures.b.of
        return Winner.UNDECIDED, (
            f"B had {100 * failures.b.of / total:.1f} % of the requests where "
            f"{100 * plan.share_b:g} % were planned, more than chance explains; "
            "mend the split and begin again"
        )
    needed = plan.needed
    missing = [max(0, n - c.of) for n, c in zip(needed, (accuracy.a, accuracy.b), strict=True)]
    if any(missing) or accuracy.difference is None:
        return Winner.UNDECIDED, (
            f"too early: A has answered {accuracy.a.of:,} of {needed[0]:,} labelled reviews and "
            f"B {accuracy.b.of:,} of {needed[1]:,}, which it takes to see a difference of "
            f"{100 * plan.smallest_effect:g} points"
        )
    seen = (
        f"accuracy {100 * (accuracy.b.rate or 0):.1f} % of B against "
        f"{100 * (accuracy.a.rate or 0):.1f} % of A, a difference between "
        f"{100 * accuracy.interval.low:+.1f} and {100 * accuracy.interval.high:+.1f} points "
        f"(p = {accuracy.p_value:.2g})"
    )
    if accuracy.p_value >= plan.alpha:
        within = max(map(abs, accuracy.interval)) < plan.smallest_effect
        told = (
            "they differ by less than what would matter: choose by cost"
            if within
            else "a true difference may be smaller than planned for; a further test needs more"
        )
        return Winner.UNDECIDED, f"no difference is shown: {seen}; {told}"
    winner = Winner.B if accuracy.difference > 0 else Winner.A
    more = failures.difference or 0.0
    if failures.p_value < plan.alpha and (more > 0) == (winner is Winner.B):
        return Winner.UNDECIDED, (
            f"{winner} is more often right but fails more requests: {seen}; failed requests "
            f"{100 * (failures.b.rate or 0):.2f} % of B against "
            f"{100 * (failures.a.rate or 0):.2f} % of A (p = {failures.p_value:.2g})"
        )
    return winner, f"{winner} is more often right: {seen}"
