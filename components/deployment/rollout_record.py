"""What became of a rollout or an A/B test: the decision, and what it rests on."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from components.deployment.judging.ab_test import AbResult
from components.deployment.judging.canary_analysis import Analysis, Verdict
from components.deployment.kserve.service_state import Mode


class Decision(StrEnum):
    """How a rollout or an A/B test ended."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    FIRST_DEPLOYMENT = "first_deployment"
    ALREADY_SERVING = "already_serving"


@dataclass(frozen=True)
class Outcome:
    """What was decided of a version.

    Attributes:
        decision: How it ended; of an A/B test never `first_deployment`.
        reason: Why, in one sentence.
        model_name: Name of the service.
        version: Version that was rolled out, or arm B of a test.
        stable_version: Version that served before; the same where there was none.
        mode: KServe's deployment mode.
    """

    decision: Decision
    reason: str
    model_name: str
    version: str
    stable_version: str
    mode: Mode

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "decision": str(self.decision),
            "reason": self.reason,
            "model_name": self.model_name,
            "version": self.version,
            "stable_version": self.stable_version,
            "mode": self.mode,
        }


@dataclass(frozen=True)
class Step:
    """A share of the traffic that the canary was given, and what was seen meanwhile.

    Attributes:
        percent: The share.
        seconds: From the share being in force until the verdict.
        verdict: Promote or roll back; hold where the canary was not proven in time.
        reason: The deciding numbers, in words.
        analyses: Of each look, in order.
    """

    percent: int
    seconds: float
    verdict: Verdict
    reason: str
    analyses: tuple[Analysis, ...]

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
class Rollout(Outcome):
    """How a rollout went.

    Attributes:
        steps: What was done in this run, in order; after a crash without the steps before it.
    """

    steps: tuple[Step, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return super().to_dict() | {"steps": [step.to_dict() for step in self.steps]}


@dataclass(frozen=True)
class AbTest(Outcome):
    """How an A/B test went: B was promoted where it won, and rolled back where it did not.

    Attributes:
        result: The comparison; None where this run made none because all was decided before.
        stopped: Whether the test ended before its sample because B did harm.
        seconds: From the share being in force until the decision.
        asked: Labelled reviews that were sent.
        unanswered: Those of them without an answer of status 200 by one of the arms.
    """

    result: AbResult | None = None
    stopped: bool = False
    seconds: float = 0.0
    asked: int = 0
    unanswered: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return super().to_dict() | {
            "result": self.result.to_dict() if self.result else None,
            "stopped": self.stopped,
            "seconds": round(self.seconds, 1),
            "asked": self.asked,
            "unanswered": self.unanswered,
        }
