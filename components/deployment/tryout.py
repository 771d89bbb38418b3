"""The one loop of a rollout and of an A/B test: a version gets its shares and a judge decides.

All that has to be remembered is on the service, so a run that was killed goes on where it stopped
when it is run again. What someone else did to the service meanwhile is never overwritten: it ends
the run with a sentence (`Interfered`).
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from components.deployment.judging.observations import NotObserved, Verdict
from components.deployment.service import NotReady, Service, ServiceState, expect_share
from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)

_LOGGED_EVERY_SECONDS = 15.0


class Decision(StrEnum):
    """How a rollout or an A/B test ended."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    FIRST_DEPLOYMENT = "first_deployment"
    ALREADY_SERVING = "already_serving"


@dataclass(frozen=True)
class Look:
    """What a judge says after a look: the verdict, why, and the numbers where there are any."""

    verdict: Verdict
    reason: str
    analysis: Any = None

    @classmethod
    def promote(cls, reason: str) -> "Look":
        """Without an analysis: it is good enough."""
        return cls(Verdict.PROMOTE, reason)

    @classmethod
    def hold(cls, reason: str) -> "Look":
        """Without an analysis: it is too early to tell."""
        return cls(Verdict.HOLD, reason)

    @classmethod
    def roll_back(cls, reason: str) -> "Look":
        """Without an analysis: it is too bad."""
        return cls(Verdict.ROLL_BACK, reason)


class Judge(Protocol):
    """Decides what becomes of a version; asked again and again while it has a share."""

    def shares(self, percent: int | None, evidence: Mapping[str, Any]) -> Sequence[int]:
        """Shares of the traffic in percent that are still to be tried, rising to 100.

        Given is what a run that was killed left on the service, None for no canary. Raises
        `UserError` if this judge cannot go on from there.
        """
        ...

    def begin(self, stable: str, percent: int, evidence: Mapping[str, Any]) -> None:
        """The version has a share now; `evidence` is what the share before ended with."""
        ...

    def look(self) -> Look:
        """Look at both versions now; `NotObserved` where they cannot be seen is a hold."""
        ...

    def use(self, seconds: float) -> None:
        """Let that much time pass until the next look."""
        ...

    def evidence(self) -> dict[str, Any]:
        """What the next share is judged with, JSON-ready; the service holds it."""
        ...


@dataclass(frozen=True)
class Step:
    """A share of the traffic that the candidate was given, and what was seen meanwhile.

    The seconds are from the share being in force until the verdict, which is to hold where there
    was none in time; `analyses` has the numbers of each look, in order.
    """

    percent: int
    seconds: float
    verdict: Verdict
    reason: str
    analyses: tuple[Any, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "percent": self.percent,
            "seconds": round(self.seconds, 1),
            "verdict": str(self.verdict),
            "reason": self.reason,
            "analyses": [analysis.to_dict() for analysis in self.analyses],
        }


@dataclass(frozen=True)
class Outcome:
    """What was decided of a version, and why, in one sentence.

    `stable_version` served before; it is the version itself where none did. `steps` are those of
    this run, in order; after a crash without the steps before it.
    """

    decision: Decision
    reason: str
    model_name: str
    version: str
    stable_version: str
    steps: tuple[Step, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        steps = [step.to_dict() for step in self.steps]
        return vars(self) | {"decision": str(self.decision), "steps": steps}


@dataclass
class Tryout:
    """One version that is tried on a service.

    Attributes:
        service: The service, and the version that is tried on it.
        judge: Decides.
        look_every_seconds: Pause between two looks.
        deadline_seconds: A version without a verdict within this time of a step goes back.
        retry_rejected: Try a version again that was rolled back before.
        first_deployment: Whether the version may be the first to serve.
        after_step: Given each step when its verdict is there, before anything follows from it.
        clock: Seconds that only grow.
    """

    service: Service
    judge: Judge
    look_every_seconds: float
    deadline_seconds: float
    retry_rejected: bool = False
    first_deployment: bool = True
    after_step: Callable[[Step], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic

    def run(self) -> Outcome:
        """Look at what is there and do what is missing.

        Raises:
            UserError: If another version is being tried, the service refuses or does not follow,
                or a first deployment never becomes ready (it is removed).
            Interfered: If someone else changed the canary meanwhile; what they did stays.
        """
        name, version = self.service.name, self.service.candidate.version
        state = self.service.state()
        if state is None and self.first_deployment:
            self.service.start(100)
            state = self.service.state()
        if state is None:
            raise UserError(
                f"nothing serves {name} that version {version} could be compared with; "
                "roll a version out first"
            )
        if not state.stable:
            if not self.first_deployment:
                raise UserError(
                    f"the first deployment of {name} has not ended; run the rollout of version "
                    f"{state.canary} again"
                )
            self._finish_first_deployment(state)
            if state.canary == version:
                reason = f"version {version} is ready"
                return self._end(Decision.FIRST_DEPLOYMENT, reason, version)
            state = self.service.state() or state
        if state.canary not in (None, version):
            raise UserError(
                f"service {name} is trying version {state.canary} at {state.percent} "
                f"percent; let that rollout end, or run it again, before version {version}"
            )
        if state.canary is None and state.stable == version:
            self.service.promote()  # waits until it really serves
            reason = f"version {version} serves already"
            return self._end(Decision.ALREADY_SERVING, reason, version)
        if state.canary is None and state.rejected == version and not self.retry_rejected:
            self.service.roll_back(state.rejected_because)  # waits until it is
            return self._end(Decision.ROLL_BACK, state.rejected_because, state.stable)
        return self._try(state)

    def _finish_first_deployment(self, state: ServiceState) -> None:
        """Wait until the first version is ready; remove the candidate where it never is.

        A first deployment of another version that was killed is finished too: a canary needs
        something to be compared with.
        """
        version = self.service.candidate.version
        first: Service = replace(  # type: ignore[type-var]  # a Service is a dataclass
            self.service, candidate=replace(self.service.candidate, version=state.canary)
        )
        try:
            first.ready(100)
        except NotReady as error:
            if state.canary != version:
                raise
            first.roll_back(str(error))
            raise UserError(
                f"version {version} never became ready as the first of {self.service.name}, and "
                f"was removed again: {error}"
            ) from None
        first.promote()

    def _try(self, state: ServiceState) -> Outcome:
        """Give the version its share step by step; promote it, or roll it back."""
        version, done = self.service.candidate.version, list[Step]()

        def rolled_back(reason: str) -> Outcome:
            self.service.roll_back(reason)
            return self._end(Decision.ROLL_BACK, reason, state.stable, done)

        percent, evidence = state.percent, dict(state.evidence)
        shares = self.judge.shares(percent if state.canary else None, evidence)
        if state.canary is None:
            first = next(share for share in shares if share > 0)
            self.service.start(first, shadow=shares[0] == 0)
        if percent == 0:
            try:
                self.service.ready(0)
            except NotReady as error:
                return rolled_back(f"it never became ready: {error}")
        for share, following in zip(shares, [*shares[1:], 100], strict=True):
            if share != percent:
                self.service.shift(percent, share, following=following, evidence=evidence)
            percent = share
            try:
                self.service.ready(share)
            except NotReady as error:
                return rolled_back(f"it never got its {share} percent of the traffic: {error}")
            self.judge.begin(state.stable, share, evidence)
            step = self._watch(share)
            evidence = self.judge.evidence()
            done.append(step)
            logger.info("version %s at %d %%: %s (%s)", version, share, step.verdict, step.reason)
            self.after_step(step)
            if step.verdict is not Verdict.PROMOTE:
                return rolled_back(f"at {share} percent, {step.reason}")
        self.service.promote()
        reason = f"version {version} proved itself beside {state.stable}: {done[-1].reason}"
        return self._end(Decision.PROMOTE, reason, state.stable, done)

    def _watch(self, percent: int) -> Step:
        """Look again and again until the judge decides or time is up."""
        started = logged = self.clock()
        analyses: list[Any] = []
        while True:
            expect_share(self.service, self.service.state(), percent)
            try:
                look = self.judge.look()
            except NotObserved as error:
                look = Look.hold(str(error))
            if look.analysis is not None:
                analyses.append(look.analysis)
            now = self.clock()
            verdict, reason = look.verdict, look.reason
            late = now - started + self.look_every_seconds > self.deadline_seconds
            if verdict is Verdict.HOLD and late:
                reason = f"not proven within {self.deadline_seconds:.0f} s ({reason})"
            if verdict is not Verdict.HOLD or late:
                return Step(percent, now - started, verdict, reason, tuple(analyses))
            if now - logged >= _LOGGED_EVERY_SECONDS:
                logged = now
                logger.info("at %d percent: %s", percent, reason)
            self.judge.use(self.look_every_seconds)

    def _end(
        self, decision: Decision, reason: str, stable: str, done: Sequence[Step] = ()
    ) -> Outcome:
        name, version = self.service.name, self.service.candidate.version
        return Outcome(decision, reason, name, version, stable, tuple(done))
