"""Replace the version that serves, step by step, and go back by itself where the new one is worse.

All that has to be remembered is on the InferenceService, so a rollout that was killed goes on where
it stopped when it is run again. Each change is guarded (`deployment.kserve.guarded_canary`):
what someone else did to the canary meanwhile is never overwritten, it ends the rollout with a
sentence.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.deployment.judging.canary_analysis import (
    Analysis,
    CanaryWatch,
    LatencyEvidence,
    Limits,
    Verdict,
)
from components.deployment.judging.confidence_sequence import Pairs
from components.deployment.judging.observations import NotObserved, Observations, ObservationSource
from components.deployment.kserve import canary_change
from components.deployment.kserve.canary_readiness import serving_alone
from components.deployment.kserve.guarded_canary import (
    DECIDED_ANEW_AT_MOST,
    PAUSE_AFTER_CONFLICT,
    GuardedCanary,
)
from components.deployment.kserve.inference_service import render_inference_service
from components.deployment.kserve.service_state import FIRST_ANNOTATION, ServiceState
from components.deployment.kserve.service_store import Conflict
from components.deployment.rollout_record import Decision, Rollout, Step
from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)

_TELL_EVERY_SECONDS = 15.0


def roll_out(
    canary: GuardedCanary,
    source: ObservationSource,
    *,
    steps: Sequence[int] = (10, 50, 100),
    limits: Limits | None = None,
    look_every_seconds: float = 15.0,
    step_deadline_seconds: float = 3600.0,
    labelled: Callable[[str, str], Pairs | None] | None = None,
    after_step: Callable[[Step], None] | None = None,
    retry_rejected: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Rollout:
    """Serve a version: at once where nothing serves yet, else as a canary that has to prove itself.

    Args:
        canary: The version, and the service that it is to serve.
        source: What was seen of each version.
        steps: Percent of the traffic that the canary gets in turn, rising to 100. A first step of 0
            is a shadow step, for where something copies the traffic to the canary.
        limits: How much worse the canary may be; `alpha` is for the whole rollout and shared
            evenly between the steps.
        look_every_seconds: Pause between two looks at the numbers.
        step_deadline_seconds: A canary that is not proven within this time of a step goes back.
        labelled: Given the stable version and the canary, the labelled reviews that both have
            answered up to now; None where there are none.
        after_step: Told of each step when its verdict is there, before anything follows from it.
        retry_rejected: Try a version again that was rolled back before.
        clock: Seconds that only grow.

    Returns:
        How it went.

    Raises:
        UserError: If the arguments are of no use, the store refuses, a first deployment never
            becomes ready (it is removed), or the cluster does not follow.
        Interfered: If someone else changed the canary meanwhile; what they did stays.
    """
    rising = list(steps) == sorted(set(steps)) and len(steps) > 1
    if not rising or steps[0] < 0 or steps[-1] != 100 or steps[-2] <= 0:
        raise UserError(
            f"steps {', '.join(map(str, steps)) or '(none)'} cannot be rolled out; give rising "
            "percentages that end in 100, with one between 0 and 100 to compare at"
        )
    limits = limits or Limits()
    return _Attempt(
        canary=canary,
        source=source,
        steps=tuple(steps),
        limits=replace(limits, alpha=limits.alpha / len(steps)),
        look_every_seconds=look_every_seconds,
        step_deadline_seconds=step_deadline_seconds,
        labelled=labelled,
        after_step=after_step,
        retry_rejected=retry_rejected,
        clock=clock,
    ).run()


@dataclass(frozen=True)
class _Attempt:
    """One run of a rollout; see `roll_out`."""

    canary: GuardedCanary
    source: ObservationSource
    steps: tuple[int, ...]
    limits: Limits
    look_every_seconds: float
    step_deadline_seconds: float
    labelled: Callable[[str, str], Pairs | None] | None
    after_step: Callable[[Step], None] | None
    retry_rejected: bool
    clock: Callable[[], float]

    def run(self) -> Rollout:
        """Look at what is there and do what is missing."""
        state = self.canary.state(self._read_or_create())
        if state.first:
            self._finish_first_deployment(state)
            if state.stable == self.canary.version:
                return self._end(
                    Decision.FIRST_DEPLOYMENT, f"version {self.canary.version} is ready", state
                )
            state = self.canary.state(self.canary.read())
        if before := self.canary.decided_before(state, retry_rejected=self.retry_rejected):
            return self._end(*before, state)
        return self._try(state)

    # A first deployment

    def _read_or_create(self) -> dict[str, Any]:
        """The service; where there is none it is created, not ready yet."""
        for _ in range(DECIDED_ANEW_AT_MOST):
            service = self.canary.store.read()
            if service is not None:
                return service
            manifest = render_inference_service(
                self.canary.model_name,
                self.canary.version,
                self.canary.storage_uri,
                mode=self.canary.mode,
                model_digest=self.canary.model_digest,
                settings=self.canary.settings,
            )
            manifest["metadata"]["annotations"][FIRST_ANNOTATION] = "in progress"
            try:
                created = self.canary.store.create(manifest)
            except Conflict:
                self.canary.sleep(PAUSE_AFTER_CONFLICT)
                continue
            logger.info(
                "version %s is the first of %s", self.canary.version, self.canary.model_name
            )
            return created
        raise UserError(
            f"service {self.canary.model_name} appears and disappears; something else manages it"
        )

    def _finish_first_deployment(self, state: ServiceState) -> None:
        """Wait until the first version is ready; remove it where it never is.

        A first deployment of another version that was killed is finished too: a canary needs
        something to be compared with.
        """
        try:
            self.canary.wait(serving_alone)
        except UserError as error:
            service = self.canary.store.read()
            if service is None:
                raise
            now = self.canary.state(service)
            if not serving_alone(service).reached:
                if not now.first or now.stable != self.canary.version:
                    raise
                self.canary.store.delete()
                raise UserError(
                    f"version {self.canary.version} never became ready as the first of "
                    f"{self.canary.model_name}, and was removed again: {error}"
                ) from None
        self.canary.change(
            lambda now: canary_change.served(now) if self.canary.state(now).first else None
        )

    # A canary

    def _try(self, state: ServiceState) -> Rollout:
        """Give the version its share step by step; promote it, or roll it back."""
        done: list[Step] = []
        if state.canary is None:
            first = next(step for step in self.steps if step > 0)
            self.canary.start(first, shadow=self.steps[0] == 0)
        percent, evidence = state.percent, dict(state.evidence)
        todo = [step for step in self.steps if step >= percent]
        if percent == 100 and "seen" not in evidence:
            # At 100 percent nothing can be learned of the stable version: one step back.
            todo = list(self.steps[-2:])
        if percent == 0:
            failure = self.canary.in_force(0)
            if failure:
                return self._roll_back(state, f"it never became ready: {failure}", done)
        for step, following in zip(todo, [*todo[1:], 100], strict=True):
            if step != percent:
                self.canary.shift(percent, step, following, evidence)
            percent = step
            failure = self.canary.in_force(step)
            if failure:
                reason = f"it never got its {step} percent of the traffic: {failure}"
                return self._roll_back(state, reason, done)
            seen, evidence = self._watch(state.stable, step, evidence)
            done.append(seen)
            logger.info(
                "version %s at %d percent: %s (%s)",
                self.canary.version,
                step,
                seen.verdict,
                seen.reason,
            )
            if self.after_step:
                self.after_step(seen)
            if seen.verdict is not Verdict.PROMOTE:
                return self._roll_back(state, f"at {step} percent, {seen.reason}", done)
        self.canary.promote()
        return self._end(
            Decision.PROMOTE,
            f"version {self.canary.version} proved itself beside {state.stable}: {done[-1].reason}",
            state,
            done,
        )

    def _roll_back(self, before: ServiceState, reason: str, done: list[Step]) -> Rollout:
        self.canary.roll_back(reason)
        return self._end(Decision.ROLL_BACK, reason, before, done)

    def _watch(
        self, stable: str, percent: int, evidence: Mapping[str, Any]
    ) -> tuple[Step, dict[str, Any]]:
        """Look again and again until the numbers decide or time is up.

        Returns:
            What was seen, and the evidence about the stable version for the next step.
        """
        started = told = self.clock()
        analyses: list[Analysis] = []
        watch: CanaryWatch | None = None
        reason = "nothing was seen of it"
        at_start = reading = Observations()
        while True:
            self.canary.must_be_ours(self.canary.state(self.canary.read()), percent)
            pairs, unasked = self._labelled_pairs(stable)
            try:
                canary = self.source.read(self.canary.version)
                if percent < 100:
                    reading = self.source.read(stable)
                if watch is None and percent == 100:
                    watch, reading = _from_evidence(evidence, canary, self.limits)
                elif watch is None:
                    watch, at_start = CanaryWatch.begin(reading, canary, self.limits), reading
                else:
                    watch, analysis = watch.look(reading, canary, pairs)
                    if unasked and analysis.verdict is Verdict.PROMOTE:
                        analysis = replace(analysis, verdict=Verdict.HOLD, reason=unasked)
                    reason = analysis.reason
                    analyses.append(analysis)
                    if self.clock() - told >= _TELL_EVERY_SECONDS:
                        told = self.clock()
                        logger.info("at %d percent: %s", percent, reason)
                    if analysis.verdict is not Verdict.HOLD:
                        seconds = self.clock() - started
                        return (
                            Step(percent, seconds, analysis.verdict, reason, tuple(analyses)),
                            _evidence(watch, reading, at_start),
                        )
            except NotObserved as error:
                reason = str(error)
            if self.clock() - started + self.look_every_seconds > self.step_deadline_seconds:
                reason = f"not proven within {self.step_deadline_seconds:.0f} s ({reason})"
                seconds = self.clock() - started
                return Step(percent, seconds, Verdict.HOLD, reason, tuple(analyses)), {}
            self.canary.sleep(self.look_every_seconds)

    def _labelled_pairs(self, stable: str) -> tuple[Pairs | None, str]:
        """The labelled reviews that both answered, and why they could not be asked.

        They are asked before a watch begins, because the questions count as requests. A server
        that fails at them is judged by its other numbers, but not promoted.
        """
        if self.labelled is None:
            return None, ""
        try:
            return self.labelled(stable, self.canary.version), ""
        except NotObserved as error:
            return None, str(error)

    def _end(
        self,
        decision: Decision,
        reason: str,
        before: ServiceState,
        done: Sequence[Step] = (),
    ) -> Rollout:
        return Rollout(
            decision,
            reason,
            self.canary.model_name,
            self.canary.version,
            before.stable,
            before.mode,
            tuple(done),
        )


def _evidence(watch: CanaryWatch, reading: Observations, at_start: Observations) -> dict[str, Any]:
    """What a step saw of the stable version, for the annotation."""
    if watch.frozen is None:
        return {}
    return {
        "seen": (reading - at_start).to_dict(),
        "frozen": (watch.frozen.stable - at_start).to_dict(),
        "median_edge": watch.frozen.median_edge,
        "p99_edge": watch.frozen.p99_edge,
    }


def _from_evidence(
    evidence: Mapping[str, Any], canary: Observations, limits: Limits
) -> tuple[CanaryWatch, Observations]:
    """A watch that begins now for the canary, with what the step before saw of the stable version.

    Returns:
        The watch, and the stable version's reading to look with.
    """
    frozen = LatencyEvidence(
        int(evidence["median_edge"]),
        int(evidence["p99_edge"]),
        Observations.from_dict(evidence["frozen"]),
        canary,
    )
    seen = Observations.from_dict(evidence["seen"])
    return CanaryWatch(limits, Observations(), canary, frozen), seen
