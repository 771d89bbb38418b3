"""Two candidates at fixed shares of the traffic: which one is better, and is it worth knowing?

Unlike a canary, which is watched all the time and stopped at the first sign of harm, an A/B test is
planned: the smallest difference that would matter says how many labelled reviews each arm has to
answer, and the verdict is read once these are there. So the ordinary statistics of two proportions
hold, and no look before counts.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from components.deployment.judging.confidence_sequence import Count, Interval
from components.shared.machine.errors import UserError

SPLIT_ALPHA = 0.001
"""A split that fits its plan as badly as this by chance is taken for a fault of the splitter. Low,
as customary, because it is checked with so many requests that small p-values are easily had."""

_ENOUGH_WITH_CHANCE = 0.99


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
        for name in ("share_b", "power", "alpha"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name):g}; give more than 0, less than 1")

    @property
    def needed(self) -> tuple[int, int]:
        """Labelled reviews that arm A and arm B have to answer.

        For the smallest effect up or down from the baseline, whichever asks for more. With
        r = n2 / n1 and the pooled proportion p (Fleiss, Levin and Paik 2003, "Statistical Methods
        for Rates and Proportions", section 4.2, without continuity correction):

            n1 = (z_alpha/2 sqrt((r + 1) p q) + z_power sqrt(r p1 q1 + p2 q2))^2 / (r (p2 - p1)^2)
        """
        from scipy.stats import norm

        r, p1 = self.share_b / (1 - self.share_b), self.baseline
        z_alpha, z_power = norm.isf(self.alpha / 2), norm.ppf(self.power)
        most = 0.0
        for p2 in (p1 - self.smallest_effect, p1 + self.smallest_effect):
            if 0 <= p2 <= 1:
                p = (p1 + r * p2) / (1 + r)
                spread = z_alpha * math.sqrt((r + 1) * p * (1 - p))
                spread += z_power * math.sqrt(r * p1 * (1 - p1) + p2 * (1 - p2))
                most = max(most, spread**2 / (r * (p2 - p1) ** 2))
        return math.ceil(most), math.ceil(r * most)

    @property
    def reviews_needed(self) -> int:
        """Labelled reviews that give both arms their sample in 99 of 100 tests.

        The split is drawn for each request, so an arm's part of n reviews is binomial, and the sum
        of the planned samples is too few in half of the tests.
        """
        from scipy.stats import binom

        of_a, of_b = self.needed

        def enough(n: int) -> bool:
            chance = binom.cdf(n - of_a, n, self.share_b) - binom.cdf(of_b - 1, n, self.share_b)
            return float(chance) >= _ENOUGH_WITH_CHANCE

        low, high = of_a + of_b, 2 * (of_a + of_b)
        while not enough(high):
            low, high = high, 2 * high
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle + 1, high)
        return low

    def power_at(self, of_a: int, of_b: int) -> float:
        """Chance to find the smallest effect with so many reviews of each arm.

        The inverse of `needed`; the negligible chance of the wrong sign is left out.
        """
        from scipy.stats import norm

        p1, effect = self.baseline, self.smallest_effect
        p2 = p1 - effect if p1 >= effect else p1 + effect
        pooled = (of_a * p1 + of_b * p2) / (of_a + of_b)
        equal = math.sqrt(pooled * (1 - pooled) * (1 / of_a + 1 / of_b))
        each = math.sqrt(p1 * (1 - p1) / of_a + p2 * (1 - p2) / of_b)
        beyond = effect - norm.isf(self.alpha / 2) * equal
        return float(norm.cdf(beyond / each)) if each > 0 else float(beyond > 0)


@dataclass(frozen=True)
class Proportions:
    """Two independent proportions compared, b minus a, with Wilson intervals of both rates.

    The difference and Cohen's h (about 0.2 is small, 0.5 medium, 0.8 large) are None where an arm
    has no observations; the interval is Newcombe's, the p-value two-sided, of equal rates.
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


@dataclass(frozen=True)
class Arm:
    """What one candidate did: right answers to labelled reviews, and failed requests of all."""

    version: str
    right: Count
    failed: Count

    @classmethod
    def counted(cls, version: str, right: Sequence[int], failed: Sequence[int]) -> "Arm":
        """From counts of two numbers each: how often it happened, and could have happened."""
        return cls(version, Count(*right), Count(*failed))


@dataclass(frozen=True)
class AbResult:
    """The result of an A/B test: the winner, why, and the shares of right answers and failures.

    `split_p_value` is that of the requests being split as planned.
    """

    winner: Winner
    reason: str
    plan: Plan
    arms: tuple[Arm, Arm]
    accuracy: Proportions
    failures: Proportions
    split_p_value: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values, with the power of the reviews that were answered."""
        answered = [arm.right.of for arm in self.arms]
        return {
            "winner": str(self.winner),
            "reason": self.reason,
            "plan": asdict(self.plan) | {"needed": list(self.plan.needed)},
            "versions": [arm.version for arm in self.arms],
            "accuracy": asdict(self.accuracy),
            "failures": asdict(self.failures),
            "split_p_value": self.split_p_value,
            "power_of_sample": self.plan.power_at(*answered) if all(answered) else None,
        }


def analyse_ab(a: Arm, b: Arm, plan: Plan) -> AbResult:
    """Read an A/B test.

    An arm wins when the planned reviews are there, the two-sided test finds a difference of
    accuracy, and the winner does not fail significantly more requests than the other. If the
    requests were not split as planned, something else than chance decided who answers, and nothing
    can be concluded.

    Where it is undecided, the reason says what would be needed.
    """
    from scipy.stats import binomtest

    accuracy = compare_proportions(a.right, b.right, plan.alpha)
    failures = compare_proportions(a.failed, b.failed, plan.alpha)
    requests = a.failed.of + b.failed.of
    split = float(binomtest(b.failed.of, requests, plan.share_b).pvalue) if requests else 1.0
    winner, reason = _winner(accuracy, failures, split, plan)
    return AbResult(winner, reason, plan, (a, b), accuracy, failures, split)


def compare_proportions(a: Count, b: Count, alpha: float = 0.05) -> Proportions:
    """Compare two independent proportions.

    The interval is Newcombe's hybrid of the two Wilson intervals (1998, "Interval estimation for
    the difference between independent proportions", method 10). The test is the pooled z test (the
    chi-squared test of a 2 x 2 table), or Fisher's exact test where an expected count is below 5
    (Cochran's rule). Cohen's h is 2 asin sqrt(p_b) - 2 asin sqrt(p_a) (Cohen 1988, chapter 6).
    The intervals hold at level `1 - alpha`.
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
    return Proportions(a, b, of_a, of_b, difference, interval, h, *_equal_rates(a, b))


def wilson_interval(count: Count, alpha: float = 0.05) -> Interval:
    """Score interval of a proportion (Wilson 1927); [0, 1] without observations."""
    from scipy.stats import binomtest

    if not count.of:
        return Interval(0.0, 1.0)
    found = binomtest(*count).proportion_ci(1 - alpha, method="wilson")
    return Interval(float(found.low), float(found.high))


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
            "fix the split and begin again"
        )
    (of_a, of_b), (needed_a, needed_b) = (accuracy.a.of, accuracy.b.of), plan.needed
    if of_a < needed_a or of_b < needed_b or accuracy.difference is None:
        return Winner.UNDECIDED, (
            f"too early: A has answered {of_a:,} of {needed_a:,} labelled reviews and "
            f"B {of_b:,} of {needed_b:,}, which it takes to see a difference of "
            f"{100 * plan.smallest_effect:g} points"
        )
    seen = (
        f"accuracy {100 * (accuracy.b.rate or 0):.1f} % of B against "
        f"{100 * (accuracy.a.rate or 0):.1f} % of A, a difference between "
        f"{100 * accuracy.interval.low:+.1f} and {100 * accuracy.interval.high:+.1f} points "
        f"(p = {accuracy.p_value:.2g})"
    )
    if accuracy.p_value >= plan.alpha:
        advice = (
            "they differ by less than what would matter: choose by cost"
            if max(map(abs, accuracy.interval)) < plan.smallest_effect
            else "a true difference may be smaller than planned for; a further test needs more"
        )
        return Winner.UNDECIDED, f"no difference is shown: {seen}; {advice}"
    winner = Winner.B if accuracy.difference > 0 else Winner.A
    more = failures.difference or 0.0
    if failures.p_value < plan.alpha and (more > 0) == (winner is Winner.B):
        return Winner.UNDECIDED, (
            f"{winner} is more often right but fails more requests: {seen}; failed requests "
            f"{100 * (failures.b.rate or 0):.2f} % of B against "
            f"{100 * (failures.a.rate or 0):.2f} % of A (p = {failures.p_value:.2g})"
        )
    return winner, f"{winner} is more often right: {seen}"
