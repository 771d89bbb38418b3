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

How many requests a verdict takes: `components.deployment.judging.canary_sample_size`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from components.deployment.judging.confidence_sequence import (
    Count,
    Interval,
    Pairs,
    difference_interval,
    paired_difference_interval,
)
from components.deployment.judging.observations import Observations
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.serving_metrics import SECONDS_BUCKETS

FAILED_REQUESTS = "failed requests"
"""Name of the measure."""


class Verdict(StrEnum):
    """What to do with the canary."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True)
class Limits:
    """How much worse than the stable version a canary may be.

    Attributes:
        error_rate: Tolerated rise of the share of failed requests.
        slower_than_median: Tolerated rise of the share of answers slower than the stable's
            stretched median.
        slower_than_p99: Likewise for the stable's 99th percentile.
        latency_factor: Stretches the stable's median and 99th percentile: times this ...
        latency_allowance_seconds: ... plus this, rounded up to a bucket's edge.
        class_share: Tolerated change, up or down, of the share of any predicted class.
        accuracy: Tolerated loss of accuracy on labelled reviews.
        alpha: Tolerated chance of a wrong verdict, in each direction.
        minimum_requests: No promotion before each version has had this many requests.
        answers_for_threshold: Answers of the stable from which its latencies are read.
        warm_up_answers: The canary's first answers, which are not judged by their latency.
    """

    error_rate: float = 0.02
    slower_than_median: float = 0.15
    slower_than_p99: float = 0.03
    latency_factor: float = 1.25
    latency_allowance_seconds: float = 0.005
    class_share: float = 0.10
    accuracy: float = 0.03
    alpha: float = 0.05
    minimum_requests: int = 100
    answers_for_threshold: int = 200
    warm_up_answers: int = 30


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
        tolerated: Differences of the two rates, canary minus stable, that are put up with.
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
        if self.difference is None:
            return f"{self.name}: nothing to compare yet"
        beyond = self.standing is Standing.BEYOND
        low, high = self.wide_interval if beyond else self.interval
        limits = [f"{100 * limit:+g}" for limit in self.tolerated if abs(limit) < 1]
        return (
            f"{self.name}: {_percent(self.canary.rate)} against {_percent(self.stable.rate)}, "
            f"a difference between {100 * low:+.1f} and {100 * high:+.1f} points where "
            f"{' to '.join(limits)} is tolerated"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "name": self.name,
            "stable": list(self.stable),
            "canary": list(self.canary),
            "tolerated": list(self.tolerated),
            "interval": list(self.interval),
            "wide_interval": list(self.wide_interval),
            "complete": self.complete,
            "difference": self.difference,
            "standing": str(self.standing),
        }


@dataclass(frozen=True)
class Analysis:
    """What one look found.

    Attributes:
        verdict: Promote, hold or roll back.
        reason: One sentence that names the deciding measure and its numbers.
        measures: All comparisons.
        stable: What was seen of the stable version since the watch began.
        canary: What was seen of the canary since then.
    """

    verdict: Verdict
    reason: str
    measures: tuple[Measure, ...]
    stable: Observations
    canary: Observations

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
    """Answers that are judged by thresholds that were fixed before they were given.

    Attributes:
        median_edge: Index in `SECONDS_BUCKETS` of the stretched median of the stable.
        p99_edge: Index of its stretched 99th percentile.
        stable: What was seen of the stable version since the thresholds were fixed.
        canary: What was seen of the canary since then.
    """

    median_edge: int
    p99_edge: int
    stable: Observations
    canary: Observations


@dataclass(frozen=True)
class CanaryWatch:
    """What has to be remembered between looks; it never changes, each look gives the next one.

    Begin a watch when the canary begins to get its share of the traffic, and a new one when the
    share changes. After a crash begin a new one too: what was seen before is lost, what is promised
    holds. The latency thresholds are read from the stable's first `answers_for_threshold` answers
    of the watch, and fixed when the canary has given its `warm_up_answers` too; answers given
    afterwards, of either version, are judged by them.

        watch = CanaryWatch.begin(source.read(stable), source.read(canary), limits)
        while True:
            watch, analysis = watch.look(source.read(stable), source.read(canary))

    Attributes:
        limits: How much worse the canary may be.
        stable_at_start: Reading of the stable version when the watch began.
        canary_at_start: Reading of the canary then.
        frozen: Thresholds, with the readings at which they were fixed; None before.
    """

    limits: Limits
    stable_at_start: Observations
    canary_at_start: Observations
    frozen: LatencyEvidence | None = None

    @classmethod
    def begin(
        cls, stable: Observations, canary: Observations, limits: Limits | None = None
    ) -> "CanaryWatch":
        """Start watching from the current readings of both versions."""
        return cls(limits or Limits(), stable, canary)

    def look(
        self, stable: Observations, canary: Observations, labelled: Pairs | None = None
    ) -> tuple["CanaryWatch", Analysis]:
        """Judge the readings of now.

        Args:
            stable: Reading of the stable version, from the same source as at the start.
            canary: Reading of the canary.
            labelled: Labelled reviews answered by both (first stable, second canary) up to now.

        Returns:
            The watch to look with next time, and what was found.

        Raises:
            ValueError: If a reading counts less than it did at the start.
        """
        seen = stable - self.stable_at_start
        watch = self
        seen_of_canary = canary - self.canary_at_start
        if (
            self.frozen is None
            and seen.answered >= self.limits.answers_for_threshold
            and seen_of_canary.answered >= self.limits.warm_up_answers
        ):
            edges = (_stretched(seen.quantile(share), self.limits) for share in (0.5, 0.99))
            watch = replace(self, frozen=LatencyEvidence(*edges, stable, canary))
        latency = None
        if watch.frozen is not None:
            latency = replace(
                watch.frozen,
                stable=stable - watch.frozen.stable,
                canary=canary - watch.frozen.canary,
            )
        found = analyse(seen, seen_of_canary, self.limits, latency=latency, labelled=labelled)
        return watch, found


def analyse(
    stable: Observations,
    canary: Observations,
    limits: Limits | None = None,
    *,
    latency: LatencyEvidence | None = None,
    labelled: Pairs | None = None,
) -> Analysis:
    """Compare what was seen of two versions over the same time.

    Args:
        stable: Counts of the stable version.
        canary: Counts of the canary.
        limits: How much worse the canary may be.
        latency: Answers to judge the latency by; without them it stays open, so that there is no
            promotion.
        labelled: Labelled reviews answered by both; without them accuracy is not compared.

    Returns:
        The verdict with its numbers.
    """
    limits = limits or Limits()
    nothing = Observations()
    late = latency or LatencyEvidence(0, 0, nothing, nothing)
    share = Interval(-limits.class_share, limits.class_share)
    compared: list[tuple[str, Count, Count, Interval]] = [
        (
            FAILED_REQUESTS,
            Count(stable.errors, stable.requests),
            Count(canary.errors, canary.requests),
            Interval(-1.0, limits.error_rate),
        )
    ]
    for words, edge, tolerated in (
        ("median", late.median_edge, limits.slower_than_median),
        ("99th percentile", late.p99_edge, limits.slower_than_p99),
    ):
        threshold = f" ({1000 * SECONDS_BUCKETS[edge]:g} ms)" if latency else ""
        compared.append(
            (
                f"answers slower than the stable's {words}{threshold}",
                Count(late.stable.slower_than(edge), late.stable.answered),
                Count(late.canary.slower_than(edge), late.canary.answered),
                Interval(-1.0, tolerated),
            )
        )
    for index, name in enumerate(CLASS_NAMES):
        compared.append(
            (
                f"reviews called {name}",
                Count(stable.classes[index], stable.predicted),
                Count(canary.classes[index], canary.predicted),
                share,
            )
        )
    wide_alpha = limits.alpha / (len(compared) + (labelled is not None))
    measures = [
        Measure(
            *one,
            difference_interval(one[1], one[2], limits.alpha),
            difference_interval(one[1], one[2], wide_alpha),
        )
        for one in compared
    ]
    if labelled is not None:
        measures.append(
            Measure(
                "right answers on labelled reviews",
                labelled.first,
                labelled.second,
                Interval(-limits.accuracy, 1.0),
                paired_difference_interval(labelled, limits.alpha),
                paired_difference_interval(labelled, wide_alpha),
                complete=True,
            )
        )
    verdict, reason = _verdict(measures, stable, canary, limits)
    return Analysis(verdict, reason, tuple(measures), stable, canary)


def _verdict(
    measures: list[Measure], stable: Observations, canary: Observations, limits: Limits
) -> tuple[Verdict, str]:
    """The rule of this module, and the reason in words."""
    seen = f"{canary.requests:,} canary requests"
    beyond = [measure for measure in measures if measure.standing is Standing.BEYOND]
    if beyond:
        worst = max(beyond, key=_excess)
        return Verdict.ROLL_BACK, f"{worst.in_words()}, after {seen}"
    fewest = min(stable.requests, canary.requests)
    open_ones = [measure for measure in measures if measure.standing is Standing.OPEN]
    if fewest < limits.minimum_requests:
        return Verdict.HOLD, (
            f"too early: {canary.requests:,} canary and {stable.requests:,} stable requests of at "
            f"least {limits.minimum_requests:,} each"
        )
    if open_ones:
        widest = max(open_ones, key=_reach)
        return Verdict.HOLD, f"too early after {seen}: {widest.in_words()}"
    return Verdict.PROMOTE, f"every measure lies within its limit, after {seen}"


def _excess(measure: Measure) -> float:
    """How far the wide interval lies beyond what is tolerated."""
    low, high = measure.tolerated
    return max(measure.wide_interval.low - high, low - measure.wide_interval.high)


def _reach(measure: Measure) -> float:
    """How far the interval reaches beyond what is tolerated."""
    low, high = measure.tolerated
    return max(measure.interval.high - high, low - measure.interval.low)


def _percent(rate: float | None) -> str:
    """A rate in percent."""
    return "none" if rate is None else f"{100 * rate:.1f} %"


def _stretched(seconds: float | None, limits: Limits) -> int:
    """Index of the smallest bucket edge that is at least the stretched latency."""
    wanted = (seconds or 0.0) * limits.latency_factor + limits.latency_allowance_seconds
    for index, edge in enumerate(SECONDS_BUCKETS):
        if edge >= wanted:
            return index
    return len(SECONDS_BUCKETS) - 1
