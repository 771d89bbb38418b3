"""Two candidates at fixed shares of the traffic: which one is better, and is it worth knowing?

Unlike a canary, which is watched all the time and stopped at the first sign of harm, an A/B test is
planned: the smallest difference that would matter says how many labelled reviews each arm has to
answer, and the verdict is read once these are there. So the ordinary statistics of two proportions
hold, and no look before counts.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from components.deployment.judging.confidence_sequence import Count
from components.deployment.judging.two_proportions import (
    Proportions,
    compare_proportions,
    needed_per_arm,
)
from components.shared.machine.errors import UserError

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
