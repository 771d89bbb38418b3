"""An A/B test from its first request to the shift: what serves now is A, the candidate is B.

B gets its fixed share by the same guarded changes that a rollout makes. Labelled reviews then go
through the split like any client's requests, each once, until both arms have answered the planned
number. B is promoted if it wins; in every other case A keeps all of the traffic. Only a candidate
that fails requests is stopped before: that is watched with intervals that hold at every look, while
the accuracy is read once, at the planned sample.

A test that was killed is run again from the start of its sample: half a sample must not be looked
at. What was decided before is on the service and is not decided anew.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from components.deployment.asking.labelled import (
    Ask,
    LabelledReview,
    asker_of,
    check_answers,
    read_labelled_reviews,
)
from components.deployment.judging.ab_analysis import AbResult, Arm, Plan, Winner, analyse_ab
from components.deployment.judging.canary_analysis import (
    FAILED_REQUESTS,
    CanaryWatch,
    Limits,
    Standing,
)
from components.deployment.place import serving_place
from components.deployment.tryout import Look, Outcome, Tryout
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.machine.options import Options, option

logger = logging.getLogger(__name__)

_EVIDENCE = "ab_test"


@dataclass(frozen=True)
class AbTestOptions(Options, called="A/B test option"):
    """What is fixed before an A/B test begins."""

    share_b: int = option(50, "percent of the traffic of B, the candidate", 1, 99)
    baseline: float = option(
        0.85,
        "accuracy expected of A, the version that serves; with the smallest effect it says how "
        "many labelled reviews each arm has to answer",
        0,
        1,
    )
    smallest_effect: float = option(0.03, "smallest difference of accuracy that would matter", 0, 1)
    power: float = option(0.8, "chance to find a difference of that size", 0.01, 0.9999)
    alpha: float = option(0.05, "chance to find a difference where there is none", 1e-6, 0.5)
    reviews_per_second: float = option(10.0, "how fast labelled reviews are sent", 0.01, 10**5)
    look_every_seconds: float = option(5.0, "pause between two looks at failures", 0.01, 3600)
    deadline_seconds: float = option(
        3600.0, "a test without its sample by then is undecided, and A stays", 0, 10**7
    )
    url: str = option("", "where the service's traffic is split; empty: what the service says")
    retry_rejected: bool = option(False, "test a version again that was turned down before")

    @property
    def plan(self) -> Plan:
        """The statistical part."""
        share = self.share_b / 100
        return Plan(self.baseline, self.smallest_effect, share, self.power, self.alpha)


@dataclass
class AbJudge:
    """A `Judge` that decides at the planned sample, or before where the candidate does harm.

    `read` is `ObservationSource.read`; `ask` sends the reviews in their order, each once, to where
    the traffic is split. `unanswered` are those without an answer of status 200 by one of the
    arms; `stopped` says whether the test ended before its sample because B did harm.
    """

    read: Callable[[str], Any]
    b: str
    options: AbTestOptions
    reviews: Sequence[LabelledReview]
    ask: Ask
    sleep: Callable[[float], None] = time.sleep
    asked: int = 0
    unanswered: int = 0
    stopped: bool = False
    _a: str = ""
    _watch: CanaryWatch | None = None
    _left: Iterator[LabelledReview] | None = None
    _answered: Counter[str] = field(default_factory=Counter)
    _right: Counter[str] = field(default_factory=Counter)
    _failed: Sequence[Sequence[int]] = ((0, 0), (0, 0))
    _remembered: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        plan = self.options.plan
        if len(self.reviews) < (wanted := plan.reviews_needed):
            raise UserError(
                f"{len(self.reviews):,} labelled reviews are too few: the plan needs "
                f"{plan.needed[0]:,} answered by A and {plan.needed[1]:,} by B, for which "
                f"{wanted:,} have to be at hand; give more, or plan for a larger smallest_effect"
            )

    def shares(self, percent: int | None, evidence: Mapping[str, Any]) -> Sequence[int]:
        """As `Judge.shares`: B's share, and all of the traffic where it wins."""
        own = self.options.share_b
        if percent == 100 and _EVIDENCE in evidence:
            return (100,)
        if percent not in (None, 0, own):
            raise UserError(
                f"version {self.b} has {percent} percent of the traffic, not the {own} of this "
                "test; end what was begun with it first"
            )
        return own, 100

    def begin(self, stable: str, percent: int, evidence: Mapping[str, Any]) -> None:
        """As `Judge.begin`: a new sample, or the one that was remembered."""
        self._a = stable
        if percent == 100:
            self._remembered = evidence[_EVIDENCE]
        else:
            self._watch, self._left = None, iter(self.reviews)

    def look(self) -> Look:
        """As `Judge.look`; other classes and times are what a better candidate may have."""
        if self._remembered is not None:
            return Look.promote(str(self._remembered["reason"]))
        readings = self.read(self._a), self.read(self.b)
        if self._watch is None:
            self._watch = CanaryWatch(Limits(), *readings)
        else:
            self._watch, analysis = self._watch.look(*readings)
            (failed,) = (one for one in analysis.measures if one.name == FAILED_REQUESTS)
            self._failed = failed.stable, failed.canary
            if failed.standing is Standing.BEYOND:
                self.stopped = True
                return Look.roll_back(f"stopped before the planned sample, {failed.in_words()}")
        result = self.result()
        if self._enough():
            decide = Look.promote if result.winner is Winner.B else Look.roll_back
            return decide(result.reason)
        if self._left is None:
            reason = f"all {len(self.reviews):,} labelled reviews were asked: {result.reason}"
            return Look.roll_back(reason)
        return Look.hold(result.reason)

    def use(self, seconds: float) -> None:
        """As `Judge.use`: ask reviews, while failures are watched and some are missing."""
        if self._watch is None or self._left is None or self._enough():
            return self.sleep(seconds)
        batch = list(islice(self._left, max(1, round(self.options.reviews_per_second * seconds))))
        if not batch:
            self._left = None
            return None
        answers = [
            answer
            for answer in self.ask(batch, seconds)
            if answer.status == 200 and answer.version in (self._a, self.b)
        ]
        for answer in answers:
            self._answered[answer.version] += 1
            self._right[answer.version] += answer.right
        self.asked += len(batch)
        self.unanswered += len(batch) - len(answers)
        return None

    def evidence(self) -> dict[str, Any]:
        """As `Judge.evidence`: the arms and the reason, so that a winner is not tested anew."""
        result = self.result()
        return {
            _EVIDENCE: {
                "reason": result.reason,
                "right": [list(arm.right) for arm in result.arms],
                "failed": [list(arm.failed) for arm in result.arms],
            }
        }

    def result(self) -> AbResult:
        """The comparison of the arms as they are now."""
        versions, failed = (self._a, self.b), self._failed
        right: Sequence[Sequence[int]] = [(self._right[v], self._answered[v]) for v in versions]
        if self._remembered is not None:
            right, failed = self._remembered["right"], self._remembered["failed"]
        a, b = map(Arm.counted, versions, right, failed)
        return analyse_ab(a, b, self.options.plan)

    def _enough(self) -> bool:
        needed = zip((self._a, self.b), self.options.plan.needed, strict=True)
        return all(self._answered[version] >= least for version, least in needed)


def run_ab_test(
    where: Mapping[str, Any],
    options: Mapping[str, Any],
    labelled: str | Path,
    ab_test: str | Path,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Outcome, AbResult | None]:
    """Test a model version against the one that serves, and shift to the better one.

    `where` has the arguments of `serving_place`, `options` are `AbTestOptions` by name. Each
    labelled review is asked once; what happened is written to the JSON file `ab_test`.

    Returns:
        How it went, and the comparison; None where this run made none.

    Raises:
        UserError: If nothing serves, there are too few reviews, no answer comes from the URL, and
            as `serving_place` and `Tryout.run`.
    """
    chosen = AbTestOptions.from_dict(options)
    place, reviews = serving_place(**where), read_labelled_reviews(labelled)
    service = place.service
    state, url = service.state(), chosen.url or place.url()
    ask = asker_of(url, service.name)
    judge = AbJudge(place.source.read, service.candidate.version, chosen, reviews, ask, sleep)
    if state is not None and state.stable:
        if not url:
            raise UserError(
                f"service {service.name} says no URL yet; wait until it is ready, or give it"
            )
        check_answers(ask, reviews[0], [one for one in (state.stable, state.canary) if one], url)
    outcome = Tryout(
        service,
        judge,
        chosen.look_every_seconds,
        chosen.deadline_seconds,
        chosen.retry_rejected,
        first_deployment=False,
        clock=clock,
    ).run()
    result = judge.result() if outcome.steps else None
    content = outcome.to_dict() | {"mode": place.mode, "result": result and result.to_dict()}
    del content["steps"]
    content |= {"stopped": judge.stopped, "asked": judge.asked, "unanswered": judge.unanswered}
    content["seconds"] = round(sum(step.seconds for step in outcome.steps), 1)
    write_json(ab_test, content)
    logger.info("%s: %s", outcome.decision.replace("_", " "), outcome.reason)
    return outcome, result


def ab_metrics(outcome: Outcome, result: AbResult | None) -> dict[str, float | str]:
    """The figures that a dashboard shows; without a comparison only the decision."""
    if result is None:
        return {"decision": str(outcome.decision)}
    accuracy, needed = result.accuracy, result.plan.needed
    shown = {
        "decision": str(outcome.decision),
        "winner": str(result.winner),
        "accuracy_a": accuracy.a.rate,
        "accuracy_b": accuracy.b.rate,
        "accuracy_difference": accuracy.difference,
        "effect_size_h": accuracy.cohens_h,
        "difference_low": accuracy.interval.low,
        "difference_high": accuracy.interval.high,
        "answered_a": accuracy.a.of,
        "answered_b": accuracy.b.of,
        "needed_a": needed[0],
        "needed_b": needed[1],
    }
    return {name: value for name, value in shown.items() if value is not None}
