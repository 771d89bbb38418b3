"""What a site tells of its work: the status of the object, as KServe writes it.

Beyond KServe, `status.components.predictor.traffic` names each version's own address, from which
its metrics are read past the splitter (`components.deployment.local.local_store.server_addresses`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.deployment.local.model_process import ServedModel
from components.deployment.local.plan import Plan, Seen, Wanted

STABLE = "stable"
"""Tag of the stable version among the traffic targets of the status."""

_FAILED_STARTS = 3
"""A predictor that failed so often is told to be unready, though the one before serves."""


@dataclass(frozen=True)
class Failure:
    """How often, and how, a model's server failed of late.

    Attributes:
        count: Failures since it last stayed ready for a while.
        retry_at: When to start it again, on the site's clock.
        message: Why, with its last lines.
        exit_code: Of the process; 0 where it is not known.
        was_ready: Whether it had been ready.
        process: Id of the process.
        at: When, in ISO 8601.
    """

    count: int
    retry_at: float
    message: str
    exit_code: int
    was_ready: bool
    process: str
    at: str


def kubernetes_now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def status_of(
    service: Mapping[str, Any],
    wanted: Wanted,
    seen: Sequence[Seen],
    plan: Plan,
    failures: Mapping[str, Failure],
    *,
    url: str,
    ingress_fault: str,
    now: str,
) -> dict[str, Any]:
    """The status of an object, as KServe writes it.

    Args:
        service: The object as it was read.
        wanted: What it asks for.
        seen: The processes.
        plan: What was decided on, and is in effect unless `ingress_fault` says otherwise.
        failures: By key of the model.
        url: Where the splitter answers.
        ingress_fault: Why the split is not in effect; empty where it is.
        now: Time in ISO 8601, for conditions that changed.
    """
    ready = {
        process.key: process
        for process in seen
        if process.ready and process.port and not process.ending
    }
    conditions = {
        "IngressReady": ("False", "SplitterFailed", ingress_fault)
        if ingress_fault
        else ("True", "", ""),
        "PredictorReady": _predictor_ready(wanted, plan, failures),
    }
    if wanted.canaries:
        lacking = [c.name for c in wanted.canaries if not c.model or c.model.key not in ready]
        conditions["CanaryPredictorReady"] = (
            ("False", "CanariesNotReady", f"not ready: {', '.join(lacking)}")
            if lacking
            else ("True", "AllCanariesReady", "")
        )
    unready = [
        (name, conditions[name])
        for name in ("PredictorReady", "IngressReady")
        if conditions[name][0] != "True"
    ]
    conditions["Ready"] = unready[0][1] if unready else ("True", "", "")
    percents = {backend.port: backend.percent for backend in plan.split.backends}
    roles = [(STABLE, plan.serving or "")]
    roles += [(c.name, c.model.key) for c in wanted.canaries if c.model]
    traffic = [
        {
            "tag": tag,
            "revisionName": ready[key].version,
            "percent": percents.get(ready[key].port or 0, 0),
            "url": f"http://127.0.0.1:{ready[key].port}",
        }
        for tag, key in roles
        if key in ready
    ]
    component: dict[str, Any] = {"traffic": traffic}
    if wanted.stable:
        component["latestCreatedRevision"] = wanted.stable.key
    if plan.serving:
        component |= {"latestReadyRevision": plan.serving, "url": url}
    status: dict[str, Any] = {
        "observedGeneration": service["metadata"]["generation"],
        "deploymentMode": "Standard",
        "url": url,
        "address": {"url": url},
        "conditions": _conditions(conditions, service.get("status") or {}, now),
        "components": {"predictor": component},
        "modelStatus": _model_status(wanted.stable, wanted.fault, plan.serving, ready, failures),
    }
    if wanted.canaries:
        status["canaryStatuses"] = [
            {
                "name": canary.name,
                "ready": canary.model is not None and canary.model.key in ready,
                "trafficPercent": canary.percent,
                "modelStatus": _model_status(canary.model, canary.fault, None, ready, failures),
            }
            for canary in wanted.canaries
        ]
    return status


def ended_status(status: Mapping[str, Any], now: str) -> dict[str, Any]:
    """The status after the site has ended: what serves is no longer known, no address answers."""
    gone = ("False", "SiteEnded", "the site of this machine has ended")
    kinds = ("IngressReady", "PredictorReady", "Ready")
    return {
        **status,
        "conditions": _conditions(dict.fromkeys(kinds, gone), status, now),
        "components": {"predictor": {}},
    }


def _predictor_ready(
    wanted: Wanted, plan: Plan, failures: Mapping[str, Failure]
) -> tuple[str, str, str]:
    """Status, reason and message of the condition `PredictorReady`.

    As with a Deployment, it stays true while the predictor before serves and the new one starts,
    and turns false when the new one fails again and again.
    """
    if wanted.stable is None:
        return "False", "InvalidSpec", wanted.fault
    failure = failures.get(wanted.stable.key)
    if plan.serving == wanted.stable.key:
        return "True", "MinimumReplicasAvailable", ""
    if failure and failure.count >= _FAILED_STARTS:
        return "False", "ProgressDeadlineExceeded", failure.message
    if plan.serving:
        return "True", "ReplicaSetUpdated", "the predictor before serves until the new one is ready"
    if failure:
        return "False", "MinimumReplicasUnavailable", failure.message
    return "False", "MinimumReplicasUnavailable", "the model server is starting"


def _model_status(
    model: ServedModel | None,
    fault: str,
    serving: str | None,
    ready: Mapping[str, Seen],
    failures: Mapping[str, Failure],
) -> dict[str, Any]:
    """The `modelStatus` of a predictor."""
    failure = failures.get(model.key) if model else None
    if model is None:
        transition, target = "InvalidSpec", "FailedToLoad"
    elif model.key in ready:
        transition, target = "UpToDate", "Loaded"
    elif failure:
        transition, target = "BlockedByFailedLoad", "FailedToLoad"
    else:
        transition, target = "InProgress", "Loading"
    active = "Loaded" if (model and model.key in ready) or serving in ready else "Pending"
    status: dict[str, Any] = {
        "transitionStatus": transition,
        "states": {"activeModelState": active, "targetModelState": target},
        "copies": {
            "failedCopies": failure.count if failure else 0,
            "totalCopies": int(model is not None and model.key in ready),
        },
    }
    if fault:
        status["lastFailureInfo"] = {"reason": "InvalidPredictorSpec", "message": fault}
    elif failure and model:
        status["lastFailureInfo"] = {
            "location": failure.process,
            "reason": "RuntimeUnhealthy" if failure.was_ready else "ModelLoadFailed",
            "message": failure.message,
            "modelRevisionName": model.key,
            "time": failure.at,
            "exitCode": failure.exit_code,
        }
    return status


def _conditions(
    wanted: Mapping[str, tuple[str, str, str]], before: Mapping[str, Any], now: str
) -> list[dict[str, Any]]:
    """Conditions in the order of their types; the time is that of the last change of the status."""
    past = {condition["type"]: condition for condition in before.get("conditions", [])}
    made = []
    for kind, (status, reason, message) in sorted(wanted.items()):
        since = now
        if kind in past and past[kind]["status"] == status:
            since = past[kind].get("lastTransitionTime", now)
        condition = {"type": kind, "status": status, "lastTransitionTime": since}
        condition |= {"reason": reason} if reason else {}
        made.append(condition | ({"message": message} if message else {}))
    return made
