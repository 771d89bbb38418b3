"""What became of a rollout: its decision, and step by step what it rests on."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from components.deployment.canary_analysis import Analysis, Verdict
from components.deployment.service_state import Mode


class Decision(StrEnum):
    """How a rollout ended."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    FIRST_DEPLOYMENT = "first_deployment"
    ALREADY_SERVING = "already_serving"


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
class Rollout:
    """How a rollout went.

    Attributes:
        decision: How it ended.
        reason: Why, in one sentence.
        model_name: Name of the service.
        version: Version that was rolled out.
        stable_version: Version that served before; the same where there was none.
        mode: KServe's deployment mode.
        steps: What was done in this run, in order; after a crash without the steps before it.
    """

    decision: Decision
    reason: str
    model_name: str
    version: str
    stable_version: str
    mode: Mode
    steps: tuple[Step, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "decision": str(self.decision),
            "reason": self.reason,
            "model_name": self.model_name,
            "version": self.version,
            "stable_version": self.stable_version,
            "mode": self.mode,
            "steps": [step.to_dict() for step in self.steps],
        }
