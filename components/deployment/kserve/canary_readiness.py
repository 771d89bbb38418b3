"""Has the cluster done what the object says? Read from an InferenceService's status.

The rules follow KServe 0.21's controller (components/predictor.go, PropagateStatus and
applyCanaryWeights). `status.observedGeneration` is of no use: it is that of the Knative Service or
of the Deployment, not of the InferenceService.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from components.deployment.kserve.inference_service import canary_name
from components.deployment.kserve.service_state import (
    AFTER_REVISION_ANNOTATION,
    annotations_of,
    state_of,
)


class Progress(StrEnum):
    """How far the cluster is."""

    REACHED = "reached"
    NOT_YET = "not yet"
    FAILED = "failed"


@dataclass(frozen=True)
class Readiness:
    """How far the cluster is, and why no further.

    Attributes:
        progress: Reached, not yet, or failed for good.
        reason: What is missing, in words; empty when reached.
    """

    progress: Progress
    reason: str = ""

    @property
    def reached(self) -> bool:
        """Whether the cluster is there."""
        return self.progress is Progress.REACHED


_REACHED = Readiness(Progress.REACHED)


def serving_alone(service: Mapping[str, Any]) -> Readiness:
    """Is the one version of the service ready, with all of the traffic?

    True of a first deployment that has come up and of a canary that was promoted.
    """
    status = service.get("status") or {}
    invalid = _invalid(status.get("modelStatus"))
    if invalid:
        return invalid
    if state_of(service).mode == "Knative":
        predictor = _predictor(status)
        newest, ready = predictor.get("latestCreatedRevision"), predictor.get("latestReadyRevision")
        if not newest or newest != ready:
            return _revision_not_ready(status, newest)
        if predictor.get("latestRolledoutRevision") != ready or _latest_percent(predictor) != 100:
            return _not_yet(f"revision {ready} does not have all of the traffic")
    elif status.get("canaryStatuses"):
        return _not_yet("the cluster still has a canary")
    return _if_ready(status, "Ready")


def share_in_force(service: Mapping[str, Any], version: str, percent: int) -> Readiness:
    """Is the canary ready, and does it get its share of the traffic?

    Args:
        service: The object with its status.
        version: The canary's.
        percent: Its share; 0 for a canary that shall only be ready.
    """
    status = service.get("status") or {}
    if state_of(service).mode == "Knative":
        return _revision_share(service, status, percent)
    name = canary_name(version)
    for canary in status.get("canaryStatuses") or []:
        if canary.get("name") != name:
            continue
        invalid = _invalid(canary.get("modelStatus"))
        if invalid:
            return invalid
        if not canary.get("ready"):
            return _not_yet(f"canary {name} is not ready")
        if canary.get("trafficPercent") != percent:
            return _not_yet(f"canary {name} gets {canary.get('trafficPercent')} percent")
        # The split counts once the route is up, which is part of Ready.
        return _if_ready(status, "Ready")
    return _not_yet(f"the cluster has no canary {name} yet")


def rolled_back(service: Mapping[str, Any]) -> Readiness:
    """Does the stable version get all of the traffic again?

    The service need not be Ready: in Knative mode it is not while the rejected version, which stays
    the newest revision, cannot start.
    """
    status = service.get("status") or {}
    if state_of(service).mode == "Standard":
        if status.get("canaryStatuses"):
            return _not_yet("the cluster still has a canary")
        return _REACHED
    predictor = _predictor(status)
    stable = predictor.get("latestRolledoutRevision")
    if not stable or stable == predictor.get("latestCreatedRevision"):
        return _not_yet("the stable revision is not told from the rejected one yet")
    share = sum(
        int(target.get("percent") or 0)
        for target in predictor.get("traffic") or []
        if target.get("revisionName") == stable
    )
    if share != 100 or _latest_percent(predictor) != 0:
        return _not_yet(f"the stable revision {stable} gets {share} percent")
    return _REACHED


def settled(service: Mapping[str, Any]) -> Readiness:
    """Does the stable version get all of the traffic, after whatever came before?"""
    knative = state_of(service).mode == "Knative"
    if knative and service["spec"]["predictor"].get("canaryTrafficPercent") is not None:
        return rolled_back(service)
    return serving_alone(service)


def _revision_share(
    service: Mapping[str, Any], status: Mapping[str, Any], percent: int
) -> Readiness:
    """Knative: the canary is the newest revision."""
    predictor = _predictor(status)
    newest = predictor.get("latestCreatedRevision")
    if not newest or newest == annotations_of(service).get(AFTER_REVISION_ANNOTATION):
        return _not_yet("the canary has no revision yet")
    if newest != predictor.get("latestReadyRevision"):
        return _revision_not_ready(status, newest)
    share = _latest_percent(predictor)
    if share != percent:
        return _not_yet(f"revision {newest} gets {share} percent")
    if (predictor.get("latestRolledoutRevision") == newest) != (percent == 100):
        return _not_yet("the stable revision is not told from the canary's yet")
    return _if_ready(status, "PredictorReady")


def _revision_not_ready(status: Mapping[str, Any], newest: str | None) -> Readiness:
    """Knative: the newest revision is not ready: can it still become so?"""
    invalid = _invalid(status.get("modelStatus"))
    if invalid:
        return invalid
    condition = _condition(status, "PredictorConfigurationReady")
    if newest and condition.get("status") == "False":
        return Readiness(
            Progress.FAILED, f"revision {newest} cannot start: {_why(condition) or 'no reason'}"
        )
    return _not_yet(f"revision {newest} is not ready" if newest else "there is no revision yet")


def _predictor(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return (status.get("components") or {}).get("predictor") or {}


def _latest_percent(predictor: Mapping[str, Any]) -> int:
    """Knative: share of the entry that follows the newest ready revision."""
    return sum(
        int(target.get("percent") or 0)
        for target in predictor.get("traffic") or []
        if target.get("latestRevision")
    )


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    for condition in status.get("conditions") or []:
        if condition.get("type") == kind:
            found: Mapping[str, Any] = condition
            return found
    return {}


def _if_ready(status: Mapping[str, Any], kind: str) -> Readiness:
    condition = _condition(status, kind)
    if condition.get("status") == "True":
        return _REACHED
    why = _why(condition)
    return _not_yet(f"{kind} is {condition.get('status', 'unknown')}" + (f": {why}" if why else ""))


def _why(condition: Mapping[str, Any]) -> str:
    words = [condition.get("reason"), condition.get("message")]
    return ": ".join(str(word).strip() for word in words if word)


def _invalid(model: Mapping[str, Any] | None) -> Readiness | None:
    """KServe's own verdict that the spec can never work."""
    if not model or model.get("transitionStatus") != "InvalidSpec":
        return None
    failure = model.get("lastFailureInfo") or {}
    why = ": ".join(str(failure[key]) for key in ("reason", "message") if failure.get(key))
    return Readiness(Progress.FAILED, f"KServe refuses the service: {why or 'InvalidSpec'}")


def _not_yet(reason: str) -> Readiness:
    return Readiness(Progress.NOT_YET, reason)
