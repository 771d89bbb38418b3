"""Is the canary good enough to go on, bad enough to go back, or is it too early to tell?

Every measure is a difference of two rates, canary minus stable, with an interval that may be looked
at as often as one likes (`confidence_sequence`):

- the share of requests that the server failed;
- the share of answers slower than the stable's median and than its 99th percentile, each stretched
  a little: thresholds that are fixed once and then judged by answers given afterwards;
- the share of each predicted class;
- accuracy on labelled reviews that both versions answered, where there are any.

The rule:

- **roll back** when, for any measure, the interval lies wholly beyond what is tolerated. The
  intervals are widened for the number of measures (Bonferroni), so that a canary that is within all
  limits is rolled back with a chance of at most `alpha`, however often one looks.
- **promote** when each version has had its minimum of requests and, for every measure, the interval
  lies wholly within what is tolerated. A canary that is beyond a limit would have to fool that one
  measure, whose chance is at most `alpha`: no correction is needed (intersection-union test, Berger
  1982, "Multiparameter hypothesis testing and acceptance sampling").
- **hold** otherwise. Too little data thus never makes a verdict in either direction.

Labelled reviews are as many as there are. Where they are too few for their interval to lie within
the limit, waiting would not help: then the observed loss of accuracy has to be within it.

Requests are taken as independent of each other and each version's rates as steady while it is
watched. Bursts break the first (a stall slows all requests that wait), so the limits on latency are
wide. For the second, begin a new watch at each traffic step. A rollout of k steps looks k times
anew: give each step `alpha / k` for a promise over all of them.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from components.deployment.judging.confidence_sequence import (
    Count,
    Interval,
    Pairs,
    difference_interval,
    paired_difference_interval,
)
from components.deployment.judging.observations import Observations, Verdict
from components.shared.machine.options import Options, option
from components.shared.records.serving_metrics import SECONDS_BUCKETS

FAILED_REQUESTS = "failed requests"  # name of the measure


@dataclass(frozen=True)
class Limits(Options, called="limit"):
    """How much worse than the stable version a canary may be."""

    error_rate: float = option(0.02, "tolerated rise of the share of failed requests", 0, 1)
    slower_than_median: float = option(
        0.15, "tolerated rise of the share of answers slower than the stable's median", 0, 1
    )
    slower_than_p99: float = option(0.03, "the same for the stable's 99th percentile", 0, 1)
    latency_factor: float = option(1.25, "these two latencies count times this", 0, 1000)
    latency_allowance_seconds: float = option(0.005, "and plus this", 0, 1000)
    class_share: float = option(0.10, "tolerated change of the share of any class", 0, 1)
    accuracy: float = option(0.03, "tolerated loss of accuracy on labelled reviews", 0, 1)
    alpha: float = option(0.05, "chance of a wrong verdict, in each direction", 1e-9, 0.999)
    minimum_requests: int = option(100, "of each version before a promotion", 0, 10**9)
    answers_for_threshold: int = option(200, "that the latencies are read from", 0, 10**9)
    warm_up_answers: int = option(30, "first ones, not judged by latency", 0, 10**9)


class Standing(StrEnum):
    """Where a measure's interval lies."""

    WITHIN = "within"
    OPEN = "open"
    BEYOND = "beyond"


@dataclass(frozen=True)
class Measure:
    """One comparison of canary and stable.

    Attributes:
        name: What is compared, in words.
        stable: Count of the stable version.
        canary: Count of the canary.
        tolerated: Differences of the two rates, canary minus stable, that are tolerated.
        interval: Always-valid interval of the difference at level `1 - alpha`; it has to lie
            within `tolerated` for a promotion.
        wide_interval: The same, widened for the number of measures; it has to lie beyond
            `tolerated` for a rollback.
        complete: Whether no more observations can come, as of labelled reviews that were all
            asked. Where they are too few for the interval to decide, the observed difference does.
    """

    name: str
    stable: Count
    canary: Count
    tolerated: Interval
    interval: Interval
    wide_interval: Interval
    complete: bool = False

    @property
    def difference(self) -> float | None:
        """Observed difference, canary minus stable; None while either has no observations."""
        if self.stable.rate is None or self.canary.rate is None:
            return None
        return self.canary.rate - self.stable.rate

    @property
    def standing(self) -> Standing:
        """Whether the difference surely lies within or beyond what is tolerated."""
        low, high = self.tolerated
        if self.wide_interval.low > high or self.wide_interval.high < low:
            return Standing.BEYOND
        if low <= self.interval.low and self.interval.high <= high:
            return Standing.WITHIN
        if self.complete and self.difference is not None and low <= self.difference <= high:
            return Standing.WITHIN
        return Standing.OPEN

    def in_words(self) -> str:
        """Difference, interval and limit, in percentage points."""
        if self.stable.rate is None or self.canary.rate is None:
            return f"{self.name}: nothing to compare yet"
        beyond = self.standing is Standing.BEYOND
        low, high = self.wide_interval if beyond else self.interval
        limits = [f"{100 * limit:+g}" for limit in self.tolerated if abs(limit) < 1]
        return (
            f"{self.name}: {100 * self.canary.rate:.1f} % against {100 * self.stable.rate:.1f} %, "
            f"a difference between {100 * low:+.1f} and {100 * high:+.1f} points where "
            f"{' to '.join(limits)} is tolerated"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self) | {"difference": self.difference, "standing": str(self.standing)}


@dataclass(frozen=True)
class Analysis:
    """The result of one look: the verdict, the deciding numbers, and what was seen of both."""

    verdict: Verdict
    reason: str
    measures: tuple[Measure, ...]
    stable: Observations
    canary: Observations

    def held_by(self, reason: str) -> "Analysis":
        """The same, but to hold where it would promote and there is a reason not to."""
        holds = reason and self.verdict is Verdict.PROMOTE
        return replace(self, verdict=Verdict.HOLD, reason=reason) if holds else self

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "verdict": str(self.verdict),
            "reason": self.reason,
            "measures": [measure.to_dict() for measure in self.measures],
            "stable": self.stable.to_dict(),
            "canary": self.canary.to_dict(),
        }


@dataclass(frozen=True)
class LatencyEvidence:
    """What was seen of both versions since the thresholds (edges of buckets) were fixed."""

    median_edge: int
    p99_edge: int
    stable: Observations
    canary: Observations


@dataclass(frozen=True)
class CanaryWatch:
    """What has to be remembered between looks; it never changes, each look gives the next one.

    Begin one when the canary begins to get its share of the traffic, and a new one when the share
    changes or after a crash: what was seen is lost then, what is promised holds. The latency
    thresholds are read from the stable's first `answers_for_threshold` answers of the watch, and
    fixed when the canary has given its `warm_up_answers` too; answers given afterwards, of either
    version, are judged by them.

    `frozen` holds the thresholds with the readings at which they were fixed; None before.
    """

    limits: Limits
    stable_at_start: Observations
    canary_at_start: Observations
    frozen: LatencyEvidence | None = None

    def look(
        self,
        stable: Observations,
        canary: Observations,
        labelled: Sequence[tuple[bool, bool]] | None = None,
    ) -> tuple["CanaryWatch", Analysis]:
        """Judge the readings of now.

        Args:
            stable: Reading of the stable version, from the same source as at the start.
            canary: Reading of the canary.
            labelled: For each labelled review answered up to now, whether the stable version and
                the canary were right; None or empty compares no accuracy.

        Returns:
            The watch to look with next time, and the result.
        """
        seen, watch = stable - self.stable_at_start, self
        seen_of_canary = canary - self.canary_at_start
        if (
            self.frozen is None
            and seen.answered >= self.limits.answers_for_threshold
            and seen_of_canary.answered >= self.limits.warm_up_answers
        ):
            edges = (_stretched(seen.quantile(share), self.limits) for share in (0.5, 0.99))
            watch = replace(self, frozen=LatencyEvidence(*edges, stable, canary))
        latency = watch.frozen and replace(
            watch.frozen, stable=stable - watch.frozen.stable, canary=canary - watch.frozen.canary
        )
        pairs = Pairs.of_answers(labelled) if labelled else None
        return watch, analyse(seen, seen_of_canary, self.limits, latency=latency, labelled=pairs)

    def evidence(self, stable: Observations) -> dict[str, Any]:
        """What was seen of the stable version up to a reading, JSON-ready; see `resumed`."""
        if self.frozen is None:
            return {}
        return {
            "seen": (stable - self.stable_at_start).to_dict(),
            "frozen": (self.frozen.stable - self.stable_at_start).to_dict(),
            "median_edge": self.frozen.median_edge,
            "p99_edge": self.frozen.p99_edge,
        }

    @classmethod
    def resumed(
        cls, evidence: Mapping[str, Any], canary: Observations, limits: Limits
    ) -> tuple["CanaryWatch", Observations]:
        """A watch that begins now for a canary that has all of the traffic.

        It is judged beside the evidence of the watch before about the stable version, which is
        idle; the reading to look with is returned too.
        """
        frozen = LatencyEvidence(
            int(evidence["median_edge"]),
            int(evidence["p99_edge"]),
            Observations.from_dict(evidence["frozen"]),
            canary,
        )
        seen = Observations.from_dict(evidence["seen"])
        return cls(limits, Observations(), canary, frozen), seen


def analyse(
    stable: Observations,
    canary: Observations,
    limits: Limits,
    *,
    latency: LatencyEvidence | None = None,
    labelled: Pairs | None = None,
) -> Analysis:
    """Compare what was seen of two versions over the same time.

    Without `latency` to judge it by it stays open, so that there is no promotion; without
    `labelled` reviews, answered by both, accuracy is not compared.
    """
    late = latency or LatencyEvidence(0, 0, Observations(), Observations())
    share = Interval(-limits.class_share, limits.class_share)
    compared = [
        (
            FAILED_REQUESTS,
            *(Count(seen.errors, seen.requests) for seen in (stable, canary)),
            Interval(-1.0, limits.error_rate),
        )
    ]
    for words, edge, tolerated in (
        ("median", late.median_edge, limits.slower_than_median),
        ("99th percentile", late.p99_edge, limits.slower_than_p99),
    ):
        threshold = f" ({1000 * SECONDS_BUCKETS[edge]:g} ms)" if latency else ""
        name = f"answers slower than the stable's {words}{threshold}"
        both = (Count(s.slower_than(edge), s.answered) for s in (late.stable, late.canary))
        compared.append((name, *both, Interval(-1.0, tolerated)))
    for name in sorted({*stable.classes, *canary.classes}):
        both = (Count(seen.classes.get(name, 0), seen.predicted) for seen in (stable, canary))
        compared.append((f"reviews called {name}", *both, share))
    wide_alpha = limits.alpha / (len(compared) + (labelled is not None))
    levels = limits.alpha, wide_alpha
    measures = [
        Measure(*one, *(difference_interval(*one[1:3], level) for level in levels))
        for one in compared
    ]
    if labelled is not None:
        measures.append(
            Measure(
                "right answers on labelled reviews",
                labelled.first,
                labelled.second,
                Interval(-limits.accuracy, 1.0),
                *(paired_difference_interval(labelled, level) for level in levels),
                complete=True,
            )
        )
    verdict, reason = _verdict(measures, stable.requests, canary.requests, limits)
    return Analysis(verdict, reason, tuple(measures), stable, canary)


def _verdict(
    measures: Sequence[Measure], stable: int, canary: int, limits: Limits
) -> tuple[Verdict, str]:
    """The rule of this module for so many requests of each version, and the reason in words."""
    seen = f"{canary:,} canary requests"
    beyond = [measure for measure in measures if measure.standing is Standing.BEYOND]
    if beyond:
        worst = max(
            beyond,
            key=lambda one: max(
                one.wide_interval.low - one.tolerated.high,
                one.tolerated.low - one.wide_interval.high,
            ),
        )
        return Verdict.ROLL_BACK, f"{worst.in_words()}, after {seen}"
    if min(stable, canary) < limits.minimum_requests:
        return Verdict.HOLD, (
            f"too early: {canary:,} canary and {stable:,} stable requests of at least "
            f"{limits.minimum_requests:,} each"
        )
    not_settled = [measure for measure in measures if measure.standing is Standing.OPEN]
    if not_settled:
        widest = max(
            not_settled,
            key=lambda one: max(
                one.interval.high - one.tolerated.high, one.tolerated.low - one.interval.low
            ),
        )
        return Verdict.HOLD, f"too early after {seen}: {widest.in_words()}"
    return Verdict.PROMOTE, f"every measure lies within its limit, after {seen}"


def _stretched(seconds: float | None, limits: Limits) -> int:
    """Index of the smallest bucket edge that is at least the stretched latency."""
    wanted = (seconds or 0.0) * limits.latency_factor + limits.latency_allowance_seconds
    return min(bisect_left(SECONDS_BUCKETS, wanted), len(SECONDS_BUCKETS) - 1)
