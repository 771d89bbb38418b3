"""An A/B test from its first request to the shift: what serves now is A, the candidate is B.

B gets its fixed share by the same guarded changes that a rollout makes. Labelled reviews then go
through the split like any client's requests, each once, until both arms have answered the planned
number. B is promoted if it wins; in every other case A keeps all of the traffic. Only a candidate
that fails requests is stopped before: that is watched with intervals that hold at every look, while
the accuracy is read once, at the planned sample.

A test that was killed is run again from the start of its sample: half a sample must not be looked
at. What was decided before is on the InferenceService and is not decided anew.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from components.deployment.asking.labelled_reviews import LabelledReview
from components.deployment.asking.labelled_traffic import Ask
from components.deployment.judging.ab_test import AbResult, Arm, Plan, Winner, analyse_ab
from components.deployment.judging.canary_analysis import (
    FAILED_REQUESTS,
    Analysis,
    CanaryWatch,
    Limits,
    Standing,
)
from components.deployment.judging.confidence_sequence import Count
from components.deployment.judging.observations import NotObserved, Observations, ObservationSource
from components.deployment.kserve.guarded_canary import GuardedCanary
from components.deployment.kserve.service_state import ServiceState
from components.deployment.rollout_record import AbTest, Decision
from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)

_EVIDENCE = "ab_test"
_ENOUGH_WITH_CHANCE = 0.99
_TELL_EVERY_SECONDS = 15.0


def reviews_needed(plan: Plan) -> int:
    """Labelled reviews that give both arms their sample in 99 of 100 tests.

    The split is drawn for each request, so an arm's part of n reviews is binomial, and the sum of
    the planned samples is too few in half of the tests.
    """
    from scipy.stats import binom

    of_a, of_b = plan.needed

    def chance(n: int) -> float:
        return float(binom.cdf(n - of_a, n, plan.share_b) - binom.cdf(of_b - 1, n, plan.share_b))

    low, high = of_a + of_b, 2 * (of_a + of_b)
    while chance(high) < _ENOUGH_WITH_CHANCE:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if chance(middle) >= _ENOUGH_WITH_CHANCE else (middle + 1, high)
    return low


def run_ab_test(
    canary: GuardedCanary,
    source: ObservationSource,
    *,
    plan: Plan,
    reviews: Sequence[LabelledReview],
    ask: Ask,
    limits: Limits | None = None,
    reviews_per_second: float = 10.0,
    look_every_seconds: float = 5.0,
    deadline_seconds: float = 3600.0,
    retry_rejected: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> AbTest:
    """Test a candidate against what serves, and shift the traffic to the better one.

    Args:
        canary: The candidate, arm B, and the service that it is tested on.
        source: What was seen of each version.
        plan: Sample, share and error chances; the share is whole percents.
        reviews: To ask, in this order, each once.
        ask: Asks the service where the traffic is split.
        limits: The tolerated rise of failed requests and the chance of a false alarm; its other
            limits are not used here.
        reviews_per_second: How fast to ask.
        look_every_seconds: Pause between two looks at the failed requests.
        deadline_seconds: A test without its sample by then is undecided.
        retry_rejected: Test a version again that was turned down before.
        clock: Seconds that only grow.

    Returns:
        How it went.

    Raises:
        UserError: If the arguments are of no use, nothing serves, something else is being tried,
            the store refuses or the cluster does not follow.
        Interfered: If someone else changed the canary meanwhile; what they did stays.
    """
    percent = round(100 * plan.share_b)
    if abs(percent - 100 * plan.share_b) > 1e-6 or not 0 < percent < 100:
        raise UserError(
            f"B cannot have {100 * plan.share_b:g} percent of the traffic; give a whole number of "
            "percents between 1 and 99"
        )
    if reviews_per_second <= 0 or look_every_seconds <= 0:
        raise UserError("reviews_per_second and look_every_seconds must be above 0")
    if len(reviews) < (wanted := reviews_needed(plan)):
        raise UserError(
            f"{len(reviews):,} labelled reviews are too few: the plan needs {plan.needed[0]:,} "
            f"answered by A and {plan.needed[1]:,} by B, for which {wanted:,} have to be at hand; "
            "give more, or plan for a larger smallest_effect"
        )
    return _Test(
        canary,
        source,
        plan,
        percent,
        reviews,
        ask,
        limits or Limits(),
        max(1, round(reviews_per_second * look_every_seconds)),
        look_every_seconds,
        deadline_seconds,
        retry_rejected,
        clock,
    ).run()


@dataclass
class _Sample:
    """What the arms did up to now."""

    answered: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    failed: tuple[Count, Count] = (Count(0, 0), Count(0, 0))
    asked: int = 0
    unanswered: int = 0
    seconds: float = 0.0
    harm: str = ""
    unfinished: str = ""

    def arms(self, *versions: str) -> tuple[Arm, Arm]:
        """A and B."""
        a, b = (
            Arm(version, Count(self.right[version], self.answered[version]), failed)
            for version, failed in zip(versions, self.failed, strict=True)
        )
        return a, b


@dataclass(frozen=True)
class _Test:
    """One run of an A/B test; see `run_ab_test`."""

    canary: GuardedCanary
    source: ObservationSource
    plan: Plan
    percent: int
    reviews: Sequence[LabelledReview]
    ask: Ask
    limits: Limits
    reviews_a_look: int
    look_every_seconds: float
    deadline_seconds: float
    retry_rejected: bool
    clock: Callable[[], float]

    def run(self) -> AbTest:
        """Look at what is there and do what is missing."""
        b = self.canary.version
        service = self.canary.store.read()
        if service is None:
            raise UserError(
                f"nothing serves {self.canary.model_name} that version {b} could be tested "
                "against; roll a version out first"
            )
        state = self.canary.state(service)
        if state.first:
            raise UserError(
                f"the first deployment of {self.canary.model_name} has not ended; run the rollout "
                f"of version {state.stable} again"
            )
        if before := self.canary.decided_before(state, retry_rejected=self.retry_rejected):
            return self._end(*before, state)
        if state.canary and state.percent == 100 and _EVIDENCE in state.evidence:
            reason, arms = _remembered(state.evidence[_EVIDENCE], state.stable, b)
            return self._shift_all(state, reason, analyse_ab(*arms, self.plan), _Sample())
        if state.canary and state.percent not in (0, self.percent):
            raise UserError(
                f"version {b} has {state.percent} percent of the traffic, not the "
                f"{self.percent} of this test; end what was begun with it first"
            )
        return self._test(state)

    def _test(self, state: ServiceState) -> AbTest:
        """Bring B to its share, take the sample, decide."""
        if state.canary is None:
            self.canary.start(self.percent)
        if state.percent == 0:
            failure = self.canary.in_force(0)
            if failure:
                return self._roll_back(state, f"it never became ready: {failure}")
            # In Standard mode it gets the pods for all of the traffic now: if it wins, they run.
            self.canary.shift(0, self.percent, 100, None)
        failure = self.canary.in_force(self.percent)
        if failure:
            reason = f"it never got its {self.percent} percent of the traffic: {failure}"
            return self._roll_back(state, reason)
        sample = self._sample(state.stable)
        result = analyse_ab(*sample.arms(state.stable, self.canary.version), self.plan)
        logger.info(
            "A/B test of versions %s and %s: %s",
            state.stable,
            self.canary.version,
            sample.harm or result.reason,
        )
        if sample.harm:
            reason = f"stopped before the planned sample, {sample.harm}"
            return self._roll_back(state, reason, result, sample)
        if sample.unfinished:
            reason = f"{sample.unfinished}: {result.reason}"
            return self._roll_back(state, reason, result, sample)
        if result.winner is not Winner.B:
            return self._roll_back(state, result.reason, result, sample)
        return self._shift_all(state, result.reason, result, sample)

    def _sample(self, a: str) -> _Sample:
        """Ask until both arms have the planned sample, B does harm, or time or reviews are up."""
        b, sample = self.canary.version, _Sample()
        versions, rest = (a, b), iter(self.reviews)
        begun = told = self.clock()
        watch: CanaryWatch | None = None
        while True:
            self.canary.must_be_ours(self.canary.state(self.canary.read()), self.percent)
            unseen = ""
            try:
                readings = self.source.read(a), self.source.read(b)
                if watch is None:
                    watch = CanaryWatch.begin(*readings, self.limits)
                else:
                    watch, analysis = watch.look(*readings)
                    sample.failed = _failures(analysis.stable), _failures(analysis.canary)
                    sample.harm = _harm(analysis)
            except NotObserved as error:
                unseen = str(error)
            sample.seconds = self.clock() - begun
            there = [sample.answered[version] for version in versions]
            enough = all(n >= needed for n, needed in zip(there, self.plan.needed, strict=True))
            if sample.harm or (enough and not unseen):
                return sample
            if sample.seconds >= self.deadline_seconds:
                why = f" ({unseen})" if unseen else ""
                sample.unfinished = f"not decided within {self.deadline_seconds:.0f} s{why}"
                return sample
            if self.clock() - told >= _TELL_EVERY_SECONDS:
                told = self.clock()
                logger.info(
                    "labelled reviews answered by A: %d of %d, by B: %d of %d",
                    *(
                        number
                        for pair in zip(there, self.plan.needed, strict=True)
                        for number in pair
                    ),
                )
            if enough or watch is None:
                self.canary.sleep(self.look_every_seconds)
            elif not self._ask(rest, versions, sample):
                sample.unfinished = f"all {len(self.reviews):,} labelled reviews were asked"
                return sample

    def _ask(self, rest: Iterator[LabelledReview], arms: Sequence[str], sample: _Sample) -> bool:
        """Ask the reviews of one look; whether there were any."""
        batch = list(islice(rest, self.reviews_a_look))
        if not batch:
            return False
        heard = 0
        for answer in self.ask(batch, self.look_every_seconds):
            if answer.status == 200 and answer.version in arms:
                heard += 1
                sample.answered[answer.version] += 1
                sample.right[answer.version] += answer.right
        sample.asked += len(batch)
        sample.unanswered += len(batch) - heard
        return True

    def _shift_all(
        self, state: ServiceState, reason: str, result: AbResult, sample: _Sample
    ) -> AbTest:
        """Give B all of the traffic and make it the stable version."""
        evidence = {
            _EVIDENCE: {
                "reason": reason,
                "right": [list(arm.right) for arm in result.arms],
                "failed": [list(arm.failed) for arm in result.arms],
            }
        }
        self.canary.shift(self.percent, 100, 100, evidence)
        failure = self.canary.in_force(100)
        if failure:
            reason = f"it never got all of the traffic: {failure}"
            return self._roll_back(state, reason, result, sample)
        self.canary.promote()
        return self._end(Decision.PROMOTE, reason, state, result, sample)

    def _roll_back(
        self,
        state: ServiceState,
        reason: str,
        result: AbResult | None = None,
        sample: _Sample | None = None,
    ) -> AbTest:
        self.canary.roll_back(reason)
        return self._end(Decision.ROLL_BACK, reason, state, result, sample)

    def _end(
        self,
        decision: Decision,
        reason: str,
        before: ServiceState,
        result: AbResult | None = None,
        sample: _Sample | None = None,
    ) -> AbTest:
        sample = sample or _Sample()
        return AbTest(
            decision,
            reason,
            self.canary.model_name,
            self.canary.version,
            before.stable,
            before.mode,
            result,
            bool(sample.harm),
            sample.seconds,
            sample.asked,
            sample.unanswered,
        )


def _failures(seen: Observations) -> Count:
    return Count(seen.errors, seen.requests)


def _harm(analysis: Analysis) -> str:
    """Why B fails surely more requests than is tolerated; empty where it does not."""
    for measure in analysis.measures:
        if measure.name == FAILED_REQUESTS and measure.standing is Standing.BEYOND:
            return measure.in_words()
    return ""


def _remembered(evidence: Mapping[str, Any], a: str, b: str) -> tuple[str, tuple[Arm, Arm]]:
    """Reason and arms of a test that B won, from what the shift kept on the service."""
    one, two = (
        Arm(version, Count(*right), Count(*failed))
        for version, right, failed in zip(
            (a, b), evidence["right"], evidence["failed"], strict=True
        )
    )
    return str(evidence["reason"]), (one, two)
