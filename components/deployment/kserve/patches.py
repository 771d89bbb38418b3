"""The changes of an InferenceService that a rollout makes, as JSON merge patches (RFC 7386).

In Knative mode `canaryTrafficPercent` splits the traffic between the newest ready revision and the
last one that had all of it. Until a new revision is ready, the newest ready one may be a rejected
version, so a canary always begins at 0 percent. In Standard mode `spec.canary` describes a second
Deployment; it becomes the stable one without a restart when `spec.predictor` takes over its name.
The split needs KServe 0.21 with its Gateway API ingress; elsewhere the canary gets no traffic, is
not proven and goes back.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from components.deployment.kserve.state import (
    AFTER_REVISION_ANNOTATION,
    AUTOSCALER_ANNOTATION,
    CANARY_ANNOTATION,
    CANARY_DIGEST_ANNOTATION,
    DIGEST_ANNOTATION,
    EVIDENCE_ANNOTATION,
    FIRST_ANNOTATION,
    OF_A_CANARY,
    REJECTED_ANNOTATION,
    REJECTED_BECAUSE_ANNOTATION,
    SHADOW_ANNOTATION,
    VERSION_ANNOTATION,
    annotations_of,
    canary_name,
    mode_of,
    pod_annotations,
    state_of,
)

_LONGEST_REASON = 1000

_ATTEMPT = "review-sentiment/attempt"
"""Knative, on the pods only: makes a new revision where the same version is tried again."""


def start(
    service: Mapping[str, Any],
    version: str,
    digest: str,
    model: Mapping[str, Any],
    *,
    first_percent: int,
    shadow: bool = False,
) -> dict[str, Any]:
    """Start a version beside the stable one, without any traffic.

    Replicas and scaling stay as the object has them; in Standard mode the canary gets the pods for
    the share that it gets next. `model` is its `spec.predictor.model`.
    """
    state, mode = state_of(service), mode_of(service)
    notes: dict[str, str | None] = {
        VERSION_ANNOTATION: state.stable,
        CANARY_ANNOTATION: version,
        CANARY_DIGEST_ANNOTATION: digest or None,
        EVIDENCE_ANNOTATION: None,
        SHADOW_ANNOTATION: "true" if shadow else None,
        REJECTED_ANNOTATION: None,
        REJECTED_BECAUSE_ANNOTATION: None,
    }
    annotations: dict[str, str | None] = {**pod_annotations(version, digest)}
    if mode == "Knative":
        components = (service.get("status") or {}).get("components") or {}
        newest = (components.get("predictor") or {}).get("latestCreatedRevision", "")
        notes[AFTER_REVISION_ANNOTATION] = newest
        there = service["spec"]["predictor"].get("annotations") or {}
        if there.get(VERSION_ANNOTATION) == version:
            annotations[_ATTEMPT] = str(int(there.get(_ATTEMPT, "1")) + 1)
        elif _ATTEMPT in there:
            annotations[_ATTEMPT] = None
        predictor = {"canaryTrafficPercent": 0, "model": model, "annotations": annotations}
        return _change(service, notes, {"predictor": predictor})
    if annotations_of(service).get(AUTOSCALER_ANNOTATION) == "keda":
        # A canary's own scaler would have no trigger, which KEDA refuses.
        annotations[AUTOSCALER_ANNOTATION] = "none"
    canary = {
        "trafficPercent": 0,
        "predictor": {
            "name": canary_name(version),
            "minReplicas": _replicas(service, first_percent),
            "annotations": annotations,
            # The CRD asks for the container's name here, and KServe refuses one in the predictor;
            # empty, it stays the runtime's.
            "model": {"name": "", **model},
        },
    }
    return _change(service, notes, {"canary": [canary]})


def shift(
    service: Mapping[str, Any],
    percent: int,
    *,
    following: int,
    evidence: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give the canary a share of the traffic.

    In Standard mode it gets the pods for the share that follows now, so that they run before the
    traffic comes.
    """
    notes: dict[str, str | None] = {}
    if evidence is not None:
        notes[EVIDENCE_ANNOTATION] = json.dumps(evidence, separators=(",", ":"))
    if mode_of(service) == "Knative":
        return _change(service, notes, {"predictor": {"canaryTrafficPercent": percent}})
    (canary,) = service["spec"]["canary"]
    replicas = _replicas(service, max(percent, following))
    predictor = {**canary["predictor"], "minReplicas": replicas}
    return _change(
        service, notes, {"canary": [{"trafficPercent": percent, "predictor": predictor}]}
    )


def promote(service: Mapping[str, Any]) -> dict[str, Any]:
    """Make the canary, which has all of the traffic already, the stable version."""
    state = state_of(service)
    if not state.stable:
        return _change(service, {FIRST_ANNOTATION: None})
    notes: dict[str, str | None] = {
        **dict.fromkeys(OF_A_CANARY),
        VERSION_ANNOTATION: state.canary,
        DIGEST_ANNOTATION: annotations_of(service).get(CANARY_DIGEST_ANNOTATION),
        REJECTED_ANNOTATION: None,
        REJECTED_BECAUSE_ANNOTATION: None,
    }
    if mode_of(service) == "Knative":
        return _change(service, notes, {"predictor": {"canaryTrafficPercent": None}})
    (canary,) = service["spec"]["canary"]
    # Replicas and scaling stay those of the stable version, which KServe forbids to a canary.
    predictor = {key: canary["predictor"][key] for key in ("name", "model", "annotations")}
    annotations = dict(predictor["annotations"])
    if AUTOSCALER_ANNOTATION in annotations:
        annotations[AUTOSCALER_ANNOTATION] = None
    predictor["annotations"] = annotations
    predictor["model"] = {**predictor["model"], "name": None}
    return _change(service, notes, {"predictor": predictor, "canary": None})


def roll_back(service: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Give all of the traffic to the stable version again and remember why, in one sentence."""
    notes: dict[str, str | None] = {
        **dict.fromkeys(OF_A_CANARY),
        REJECTED_ANNOTATION: state_of(service).canary,
        REJECTED_BECAUSE_ANNOTATION: reason[:_LONGEST_REASON],
    }
    if mode_of(service) == "Knative":
        return _change(service, notes, {"predictor": {"canaryTrafficPercent": 0}})
    return _change(service, notes, {"canary": None})


def _change(
    service: Mapping[str, Any],
    notes: Mapping[str, str | None],
    spec: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A merge patch of annotations and spec; annotations that are absent need no removal."""
    there = annotations_of(service)
    noted = {key: value for key, value in notes.items() if value is not None or key in there}
    change: dict[str, Any] = {"metadata": {"annotations": noted}} if noted else {}
    return change | ({"spec": dict(spec)} if spec else {})


def _replicas(service: Mapping[str, Any], percent: int) -> int:
    """Pods of a canary with that share: KServe's rule, but at least one."""
    fewest = service["spec"]["predictor"].get("minReplicas")
    fewest = 1 if fewest is None else int(fewest)
    return max(1, math.ceil(fewest * percent / 100))
